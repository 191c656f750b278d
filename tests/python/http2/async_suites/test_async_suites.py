"""What the asynchronous transport keeps to over both protocols."""

from async_transport.test_async_cancellation import (  # noqa: F401
    test_a_request_cancelled_before_it_began_sends_nothing,
)
from async_transport.test_async_closing import (  # noqa: F401
    test_a_client_is_closed_by_its_block,
    test_a_client_may_be_closed_unused_and_twice,
)
from async_transport.test_async_httpx_contract import (  # noqa: F401
    test_a_request_may_be_sent_again,
    test_a_response_knows_whether_it_was_read_and_closed,
    test_a_stream_left_unread_cannot_be_read_later,
    test_a_stream_of_an_async_response_cannot_be_read_in_the_sync_way,
    test_a_transport_may_be_mounted,
    test_a_transport_may_be_used_without_a_client,
    test_compressed_bodies_are_decoded,
    test_hooks_see_request_and_response,
    test_no_timeouts_at_all_may_be_given,
    test_pieces_have_the_requested_size,
    test_requests_may_be_gathered_and_awaited_as_they_end,
)
from async_transport.test_async_request_bodies import (  # noqa: F401
    test_an_empty_iterator_is_an_empty_body,
    test_an_error_of_the_body_that_looks_like_a_transport_error_propagates_unchanged,
    test_an_exception_of_the_bodys_iterator_propagates_unchanged,
)
from async_transport.test_async_requests import (  # noqa: F401
    test_a_response_may_arrive_byte_by_byte,
    test_a_response_without_a_body_causes_no_wait_and_its_connection_is_reused,
    test_every_method_reaches_the_server,
    test_interim_responses_are_skipped,
)
from async_transport.test_async_responses import (  # noqa: F401
    test_a_response_may_be_closed_again_and_again,
)
from async_transport.test_async_timeouts import (  # noqa: F401
    test_a_slow_request_body_is_no_write_timeout,
    test_the_read_timeout_is_for_each_read_not_for_the_whole_body,
    test_without_timeouts_a_request_waits,
)
