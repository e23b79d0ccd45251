package secrets

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
)

func hasher(key byte) *Hasher { return NewHasher(NewValue(bytes.Repeat([]byte{key}, HashKeySize))) }

// The hashes are in statuses and annotations of clusters: another program, or a later one, has to make the same, or everything seems to have
// changed. The vectors were made by another implementation (Python's hmac), and are computed here again from what the hash is said to be.
func TestHashesAreWhatTheyWere(t *testing.T) {
	key := bytes.Repeat([]byte{1}, HashKeySize)
	reference := func(parts ...string) []byte {
		mac := hmac.New(sha256.New, key)
		for _, part := range parts {
			mac.Write([]byte{0, 0, 0, 0, 0, 0, 0, byte(len(part))})
			mac.Write([]byte(part))
		}
		return mac.Sum(nil)
	}
	short := func(sum []byte) string { return base64.RawURLEncoding.EncodeToString(sum[:16]) }
	h := hasher(1)
	for name, test := range map[string]struct{ got, want, fixed string }{
		"id":    {h.ID(), hex.EncodeToString(reference("id")[:4]), "6fcaf013"},
		"value": {h.Value("password", ValueOf("hunter2")), short(reference("value", "password", "hunter2")), "RARfwdzrBH9s56F1S4vbBQ"},
		"data":  {h.Data(Data{"b": ValueOf("2"), "a": ValueOf("1")}), short(reference("data", "a", "1", "b", "2")), "TxixTFGtm5mB0bNClxqxzw"},
		"keys":  {h.Keys(Data{"b": ValueOf("2"), "a": ValueOf("1")}, []string{"b", "c"}), short(reference("data", "b", "2")), "ChetrbSpxLYJ5FqQnDJSkQ"},
		"texts": {h.Texts("a", "b"), short(reference("texts", "a", "b")), "uxF4-hy8jQEybDmErH17ZA"},
	} {
		if test.got != test.want || test.got != test.fixed {
			t.Errorf("%s is %q, want %q, which was %q", name, test.got, test.want, test.fixed)
		}
	}
}

func TestHashesOfDifferentThingsDiffer(t *testing.T) {
	h := hasher(1)
	hashes := map[string]string{}
	add := func(name, hash string) {
		t.Helper()
		if len(hash) != 22 {
			t.Errorf("%s is %q, want 22 characters", name, hash)
		}
		for other, of := range hashes {
			if of == hash {
				t.Errorf("%s and %s have one hash", name, other)
			}
		}
		hashes[name] = hash
	}
	// What is put together in another way is another thing: no list is the beginning, or another division, of one.
	add("a=bc", h.Data(Data{"a": ValueOf("bc")}))
	add("ab=c", h.Data(Data{"ab": ValueOf("c")}))
	add("a=b,c=", h.Data(Data{"a": ValueOf("b"), "c": ValueOf("")}))
	add("a=,b=c", h.Data(Data{"a": ValueOf(""), "b": ValueOf("c")}))
	add("a=b", h.Data(Data{"a": ValueOf("b")}))
	add("a=b,c=d", h.Data(Data{"a": ValueOf("b"), "c": ValueOf("d")}))
	add("a=bcd", h.Data(Data{"a": ValueOf("bcd")}))
	add("a= the bytes of b=c", h.Data(Data{"a": ValueOf("\x00\x00\x00\x00\x00\x00\x00\x01b\x00\x00\x00\x00\x00\x00\x00\x01c")}))
	add("nothing", h.Data(Data{}))
	add("an empty key", h.Data(Data{"": ValueOf("")}))
	add("the value b of a", h.Value("a", ValueOf("b")))
	add("the value a of b", h.Value("b", ValueOf("a")))
	add("the value of ab", h.Value("", ValueOf("ab")))
	add("the texts a and b", h.Texts("a", "b"))
	add("the text ab", h.Texts("ab"))
	add("no texts", h.Texts())
	add("one empty text", h.Texts(""))
	add("texts like data", h.Texts("data", "a", "b"))
	add("a=b by another key", hasher(2).Data(Data{"a": ValueOf("b")}))
	add("a long value", h.Value("a", ValueOf(strings.Repeat("x", 300))))
	add("a longer value", h.Value("a", ValueOf(strings.Repeat("x", 301))))
	if h.ID() == hasher(2).ID() || len(h.ID()) != 8 {
		t.Errorf("the keys have the ids %s and %s", h.ID(), hasher(2).ID())
	}
}

func TestAKeyThatIsAbsentIsNotOneThatIsEmpty(t *testing.T) {
	h := hasher(1)
	data := Data{"a": ValueOf("1"), "b": ValueOf("")}
	if h.Keys(data, []string{"a", "b"}) == h.Keys(data, []string{"a"}) || h.Keys(data, []string{"a", "c"}) != h.Keys(data, []string{"a"}) || h.Keys(data, data.Keys()) != h.Data(data) {
		t.Error("an absent key counts as an empty one, or otherwise")
	}
}

func TestAHasherKeepsItsKey(t *testing.T) {
	key := NewValue(bytes.Repeat([]byte{1}, HashKeySize))
	h := NewHasher(key)
	before := h.ID()
	key.Clear()
	if h.ID() != before {
		t.Error("the hasher lost its key with the value that it was made of")
	}
}
