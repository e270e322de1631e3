"""Generated from protos/universe2/wire/v1 by protos/generate.py. The .proto files are the reference."""
