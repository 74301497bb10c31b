"""Which headers travel."""

from gateway.proxy.transport import headers as hop


def test_unknown_headers_travel_and_hop_by_hop_ones_do_not() -> None:
    incoming = [
        (b"host", b"gateway"),
        (b"content-length", b"3"),
        (b"connection", b"keep-alive, X-Secret-Hop"),
        (b"x-secret-hop", b"1"),
        (b"transfer-encoding", b"chunked"),
        (b"anthropic-beta", b"never-heard-of-2027"),
        (b"x-api-key", b"sk-x"),
        (b"x-gateway-unit", b"alice"),
        (b"x-stainless-retry-count", b"1"),
    ]
    assert hop.to_upstream(incoming, api_key=None) == [
        (b"anthropic-beta", b"never-heard-of-2027"),
        (b"x-api-key", b"sk-x"),
        (b"x-stainless-retry-count", b"1"),
    ]


def test_an_upstream_key_replaces_whatever_credential_the_caller_brought() -> None:
    incoming = [(b"x-api-key", b"mine"), (b"authorization", b"Bearer mine"), (b"accept", b"*/*")]
    assert hop.to_upstream(incoming, api_key="theirs") == [(b"accept", b"*/*"), (b"x-api-key", b"theirs")]


def test_a_decoded_body_goes_on_without_its_encoding_and_asks_for_a_plain_answer() -> None:
    incoming = [(b"content-encoding", b"gzip"), (b"accept-encoding", b"br"), (b"accept", b"*/*")]
    assert hop.decoded(incoming) == [(b"accept", b"*/*"), (b"accept-encoding", b"identity")]


def test_an_answer_keeps_its_headers_twice_where_they_came_twice() -> None:
    upstream = [
        (b"Set-Cookie", b"a=1"),
        (b"Set-Cookie", b"b=2"),
        (b"Connection", b"close"),
        (b"request-id", b"r"),
    ]
    assert hop.to_client(upstream, length=5) == [
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"request-id", b"r"),
        (b"content-length", b"5"),
    ]


def test_the_upstream_cannot_speak_in_our_name() -> None:
    assert hop.to_client([(b"x-gateway-arm", b"candidate")], length=None) == []


def test_a_value_of_ours_cannot_end_a_header_line() -> None:
    assert hop.ours({"served-model": "a\r\nset-cookie: x"}) == [
        (b"x-gateway-served-model", b"a??set-cookie: x")
    ]


def test_the_first_value_of_a_header_is_read_as_text() -> None:
    assert hop.get([(b"a", b" caf\xe9 "), (b"a", b"2")], b"a") == "café"
    assert hop.get([], b"a") == ""


def test_a_value_is_the_same_text_in_utf_8_as_json_has_it_and_else_what_latin_1_makes_of_it() -> None:
    assert hop.get([(b"x", b"jos\xc3\xa9 ")], b"x") == "jos\u00e9"
    assert hop.get([(b"x", b"jos\xe9")], b"x") == "jos\u00e9"
    assert hop.get([(b"y", b"1")], b"x") == ""


def test_lines_of_one_list_are_joined() -> None:
    lines = [(b"x", b"a, b"), (b"y", b"-"), (b"x", b"c")]
    assert (hop.get(lines, b"x"), hop.get_list(lines, b"x"), hop.get_list(lines, b"z")) == (
        "a, b",
        "a, b,c",
        "",
    )


def test_an_answer_is_dated_by_our_own_server() -> None:
    assert hop.to_client([(b"Date", b"yesterday"), (b"server", b"x")], length=None) == [(b"server", b"x")]


def test_betas_are_one_list_and_are_replaced_as_one() -> None:
    incoming = [(b"anthropic-beta", b"a, b,"), (b"accept", b"*/*"), (b"anthropic-beta", b"c")]
    assert hop.betas(incoming) == ("a", "b", "c")
    assert hop.betas([]) == ()
    assert hop.with_betas(incoming, ["a", "d"]) == [(b"accept", b"*/*"), (b"anthropic-beta", b"a,d")]
    assert hop.with_betas(incoming, []) == [(b"accept", b"*/*")]


def test_a_credential_that_is_sent_twice_goes_on_once() -> None:
    incoming = [(b"x-api-key", b"a"), (b"accept", b"*/*"), (b"x-api-key", b"b")]
    assert hop.to_upstream(incoming, api_key=None) == [(b"accept", b"*/*"), (b"x-api-key", b"a")]
    assert hop.credential(incoming) == "a"
    assert hop.credential([(b"authorization", b"bearer  t ")]) == "t"
    assert hop.credential([(b"authorization", b"Basic t")]) == ""


def test_an_answer_is_compressed_where_it_says_so() -> None:
    for value in (b"gzip", b"identity, br"):
        assert hop.is_encoded([(b"content-encoding", value)])
    assert not hop.is_encoded([(b"content-encoding", b"Identity")])
    assert not hop.is_encoded([])
