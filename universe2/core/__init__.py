"""The core: specs, batches, spaces, the screen interface, errors. Knows no runtime, no network."""
