"""The parts of the litellm patch, one concept each: how attributes are replaced and given back (`points`), who is
constructing an httpx client (`scope`), what becomes of it (`decision`), litellm's TLS contexts (`tls_recipe`), and its
caches (`caches`). None of them imports litellm: `litellm_patch` alone does, and hands in what they need."""
