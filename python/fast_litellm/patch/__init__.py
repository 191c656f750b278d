"""The parts of the litellm patch, one concept each: how attributes are replaced and given back (`points`), where httpx
gives a client its transport (`clients`), who is constructing it (`scope`), what becomes of it (`decision`), transports
that litellm and the SDKs make themselves (`own_transport`, and `aiohttp_transport` for those of aiohttp), litellm's TLS
contexts (`tls_recipe`), and its caches (`caches`). httpx and httpx2 are `libraries`. None of them imports litellm:
`litellm_patch` alone does, and hands in what they need."""
