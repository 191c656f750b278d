"""Tests of the transports over HTTP/1.1 whose subject is not HTTP/1.1, run over HTTP/2: their scripts serve a stream in
place of a connection (conftest.py). httpx's own transport runs them too."""

from __future__ import annotations

from blocking_transport.test_http_bodies import (  # noqa: F401
    test_a_response_streams_as_it_arrives,
    test_an_empty_iterator_is_an_empty_body,
    test_an_exception_of_the_bodys_iterator_propagates_unchanged,
    test_reading_a_closed_response_raises_httpxs_error,
)
from blocking_transport.test_http_requests import (  # noqa: F401
    test_a_response_may_arrive_byte_by_byte,
    test_a_response_without_a_body_causes_no_wait_and_its_connection_is_reused,
    test_chunked_responses_with_extensions_and_trailers_are_joined,
    test_compressed_bodies_are_decoded,
    test_every_method_reaches_the_server,
    test_interim_responses_are_skipped,
    test_the_target_extension_replaces_the_target,
)
from blocking_transport.test_requests_as_httpx_sends_them import (  # noqa: F401
    test_a_request_without_timeouts_keeps_its_other_extensions,
    test_a_target_is_text_or_bytes,
)
from blocking_transport.test_timeouts import (  # noqa: F401
    test_the_read_timeout_is_for_each_read_not_for_the_whole_body,
    test_without_timeouts_a_request_waits,
)
