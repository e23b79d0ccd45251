package engine

import (
	"context"
	"maps"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

func pushed(text string) secrets.Data {
	return secrets.Data{"password": secrets.ValueOf(text), "lines": secrets.ValueOf("a\n<&>\x00")}
}

func TestAPushIsWrittenByCheckAndSet(t *testing.T) {
	caller, s := login(t, "engine"), realVault(t)
	const canary = "canary-pushed-2f60"
	destination := &v1alpha1.PushDestination{Mount: "secret", Path: "push/db"}
	_, _, err := ReadPushed(t.Context(), caller, destination)
	want(t, "nothing is there", err, secrets.NotFound)

	first, err := Push(t.Context(), caller, destination, pushed(canary), 0)
	if err != nil || first != 1 {
		t.Fatalf("the first: got version %d, %v", first, err)
	}
	second, err := Push(t.Context(), caller, destination, pushed(canary+"2"), first)
	if err != nil || second != 2 {
		t.Fatalf("the second: got version %d, %v", second, err)
	}
	data, version, err := ReadPushed(t.Context(), caller, destination)
	if err != nil || version != 2 || !data.Equal(pushed(canary+"2")) {
		t.Errorf("reading it: got version %d, %v, or other values", version, err)
	}
	// Somebody else writes.
	must(t, s.WriteKV2(t.Context(), "secret", "push/db", map[string]any{"password": "theirs"}))
	for what, previous := range map[string]int64{"as if it were the first": 0, "by an older version": first, "by the last": second, "by one that never was": 9} {
		_, err = Push(t.Context(), caller, destination, pushed(canary), previous)
		want(t, what, err, secrets.NotOurs, canary, "theirs")
	}
	if got := query(t, "secret/data/push/db", nil).Data["data"].(map[string]any)["password"]; got != "theirs" {
		t.Error("it was overwritten")
	}
	overwriting := *destination
	overwriting.Overwrite = true
	if version, err = Push(t.Context(), caller, &overwriting, pushed(canary), second); err != nil || version != 4 {
		t.Errorf("overwriting: got version %d, %v", version, err)
	}
}

func TestAPathThatWasUsedBeforeIsNotOurs(t *testing.T) {
	caller, s := login(t, "engine"), realVault(t)
	must(t, s.WriteKV2(t.Context(), "secret", "used/live", map[string]any{"a": "b"}))
	must(t, s.WriteKV2(t.Context(), "secret", "used/deleted", map[string]any{"a": "b"}))
	write(t, "secret/delete/used/deleted", map[string]any{"versions": []int{1}})
	for _, path := range []string{"used/live", "used/deleted"} {
		destination := &v1alpha1.PushDestination{Mount: "secret", Path: path}
		_, err := Push(t.Context(), caller, destination, pushed("x"), 0)
		want(t, path, err, secrets.NotOurs)
		destination.Overwrite = true
		if version, err := Push(t.Context(), caller, destination, pushed("x"), 0); err != nil || version != 2 {
			t.Errorf("%s, overwriting: got version %d, %v", path, version, err)
		}
	}
}

func TestOnlyTheVersionThatWasPushedIsDeleted(t *testing.T) {
	caller, s := login(t, "engine"), realVault(t)
	destination := &v1alpha1.PushDestination{Mount: "secret", Path: "unpush/db"}
	version, err := Push(t.Context(), caller, destination, pushed("x"), 0)
	must(t, err)
	must(t, s.WriteKV2(t.Context(), "secret", "unpush/db", map[string]any{"a": "theirs"}))
	must(t, DeletePushed(t.Context(), caller, destination, version))
	if got := query(t, "secret/data/unpush/db", nil).Data["data"].(map[string]any)["a"]; got != "theirs" {
		t.Errorf("the version of somebody else: got %v", got)
	}
	_, err = Read(t.Context(), caller, kv2("unpush/db", func(kv *v1alpha1.KVSource) { kv.Version = version }), Options{})
	want(t, "the version that was pushed", err, secrets.NotFound)
	must(t, DeletePushed(t.Context(), caller, destination, version)) // gone already
	must(t, DeletePushed(t.Context(), caller, destination, 0))       // never pushed
	must(t, DeletePushed(t.Context(), caller, &v1alpha1.PushDestination{Mount: "secret", Path: "unpush/never"}, 3))
}

func TestVersion1IsPushedWithoutCheckAndSet(t *testing.T) {
	caller := login(t, "engine")
	destination := &v1alpha1.PushDestination{Mount: "kv", Path: "push/db", EngineVersion: 1}
	for previous := range int64(2) {
		if version, err := Push(t.Context(), caller, destination, pushed("x"), previous); err != nil || version != 1 {
			t.Errorf("after %d: got version %d, %v", previous, version, err)
		}
	}
	data, version, err := ReadPushed(t.Context(), caller, destination)
	if err != nil || version != 1 || !maps.Equal(texts(data), texts(pushed("x"))) {
		t.Errorf("got version %d, %v, or other values", version, err)
	}
	_, err = Push(t.Context(), caller, destination, pushed("x"), 0)
	want(t, "something is there before the first", err, secrets.NotOurs)
	destination.Overwrite = true
	if _, err = Push(t.Context(), caller, destination, pushed("y"), 0); err != nil {
		t.Errorf("overwriting: %v", err)
	}
	must(t, DeletePushed(t.Context(), caller, destination, 1))
	_, _, err = ReadPushed(t.Context(), caller, destination)
	want(t, "after deleting", err, secrets.NotFound)
}

func TestPushesThatMakeNoSenseAreRefused(t *testing.T) {
	caller := login(t, "engine")
	const canary = "canary-pushed-c4\xff"
	for what, test := range map[string]struct {
		destination v1alpha1.PushDestination
		data        secrets.Data
	}{
		"nothing to write":         {v1alpha1.PushDestination{Mount: "secret", Path: "a"}, nil},
		"what is not text":         {v1alpha1.PushDestination{Mount: "secret", Path: "a"}, secrets.Data{"a": secrets.ValueOf(canary)}},
		"another engine":           {v1alpha1.PushDestination{Mount: "transit", Path: "a"}, pushed("x")},
		"version 1 as version 2":   {v1alpha1.PushDestination{Mount: "kv", Path: "a"}, pushed("x")},
		"version 2 as version 1":   {v1alpha1.PushDestination{Mount: "secret", Path: "data/a", EngineVersion: 1}, pushed("x")},
		"half of the path":         {v1alpha1.PushDestination{Mount: "secret/data/a", Path: "b", EngineVersion: 1}, pushed("x")},
		"a third version":          {v1alpha1.PushDestination{Mount: "secret", Path: "a", EngineVersion: 3}, pushed("x")},
		"a path with two readings": {v1alpha1.PushDestination{Mount: "secret", Path: "a/../b"}, pushed("x")},
	} {
		_, err := Push(t.Context(), caller, &test.destination, test.data, 0)
		want(t, what, err, secrets.Misconfigured, canary)
	}
}

// Whoever overwrites meets others who do: each attempt is by check-and-set, and they are few.
func TestAWriterWhoIsAlwaysFasterEndsThePush(t *testing.T) {
	destination := &v1alpha1.PushDestination{Mount: "secret", Path: "a", Overwrite: true}
	current, writes := int64(3), 0
	place, _ := PushPlace(destination)
	caller := callerFunc(func(_ context.Context, call secrets.Call) (*secrets.Reply, error) {
		switch {
		case strings.HasPrefix(call.Path, "sys/"):
			return mounted(place), nil
		case strings.Contains(call.Path, "/metadata/"):
			return &secrets.Reply{Data: map[string]any{"current_version": float64(current)}}, nil
		}
		writes++
		current++
		return nil, &secrets.Error{Reason: secrets.Refused}
	})
	_, err := Push(t.Context(), caller, destination, pushed("x"), 0)
	want(t, "the push", err, secrets.Failed)
	if writes != 4 {
		t.Errorf("wrote %d times, want 4", writes)
	}
}
