"""The families of environments. Each folder is a provider; none knows gRPC or torch."""

if __name__ != "universe2.envs":
    raise ImportError(
        f"import this package as universe2.envs, not as {__name__}: a second copy would register twice"
    )
