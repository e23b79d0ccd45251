package portcullis.lib.wording_test

import data.portcullis.lib.wording

long := replace("aaaaaaaaaa", "a", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")

test_short_texts_stay if wording.short("abc") == "abc"

test_long_texts_are_cut if {
	count(long) > 200
	count(wording.short(long)) == 200
	endswith(wording.short(long), "x…")
}

test_three_are_listed if wording.few(["a", "b", "c"]) == "a; b; c"

test_more_are_counted if wording.few(["a", "b", "c", "d", "e"]) == "a; b; c; and 2 more"

test_each_of_a_list_is_cut if count(wording.few([long, long])) == 402

test_plurals if [wording.plural("package", n) | some n in [0, 1, 2]] == ["packages", "package", "packages"]

test_texts_once_each if wording.distinct(["b", "a", "b"]) == ["a", "b"]
