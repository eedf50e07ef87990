from ostiary_policies.source import Source, digest, normal, policies_in


def test_each_policy_is_found_with_its_line_past_comments_and_semicolons_in_strings() -> None:
    text = '// a; comment\n\npermit(a); // trailing; comment\n\n@id("x;\\";")\nforbid (\n b) when { "//" == "y" };\n// end\n'
    assert list(policies_in("f.cedar", text)) == [
        Source("f.cedar", 3, "permit(a);"),
        Source("f.cedar", 5, '@id("x;\\";")\nforbid (\n b) when { "//" == "y" };'),
    ]


def test_a_policy_without_its_semicolon_is_still_a_policy() -> None:
    assert list(policies_in("f", "permit(a);\nforbid(b)")) == [Source("f", 1, "permit(a);"), Source("f", 2, "forbid(b)")]


def test_a_carriage_return_ends_a_comment_as_it_does_for_cedar() -> None:
    assert list(policies_in("f", normal("// comment\rforbid(b);"))) == [Source("f", 2, "forbid(b);")]


def test_the_digest_depends_on_names_and_texts_and_not_on_order_or_line_ends() -> None:
    one = digest({"a": "x\n", "b": "y"})
    assert one == digest({"b": "y", "a": "x\r\n"})
    assert len({one, digest({"a": "x\n", "c": "y"}), digest({"a": "x\ny"}), digest({"a": "x", "b": "\ny"})}) == 4


def test_the_digest_can_be_recomputed_from_its_description() -> None:
    # printf '7:a.cedar2:x\n' | sha256sum
    assert digest({"a.cedar": "x\n"}) == "sha256:e2cfcaf659cb6242e41476f7729f40f22a6fc0b197d63439f5af03fb4d4a3c08"
