package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/portcullis-dev/portcullis/secrets"
)

// malformed is the error for an answer that lacks what Vault's API documents. what must be made of constants and names.
func malformed(doing, what string, arguments ...any) error {
	return &secrets.Error{Reason: secrets.Malformed, Doing: doing, Message: "the answer is not what Vault's API promises: " + fmt.Sprintf(what, arguments...) +
		"; see what answers at the address of the VaultConnection"}
}

func misconfigured(doing, what string, arguments ...any) error {
	return &secrets.Error{Reason: secrets.Misconfigured, Doing: doing, Message: fmt.Sprintf(what, arguments...)}
}

// dataOf is a reply's data, nil for none.
func dataOf(reply *secrets.Reply) map[string]any {
	if reply == nil {
		return nil
	}
	return reply.Data
}

func textOf(data map[string]any, key string) string {
	text, _ := data[key].(string)
	return text
}

func objectOf(data map[string]any, key string) map[string]any {
	object, _ := data[key].(map[string]any)
	return object
}

// numberOf reads a whole number, however the caller decodes numbers.
func numberOf(data map[string]any, key string) (int64, bool) {
	switch number := data[key].(type) {
	case json.Number:
		whole, err := number.Int64()
		return whole, err == nil
	case float64:
		if number != math.Trunc(number) || math.Abs(number) > 1<<53 {
			return 0, false
		}
		return int64(number), true
	case int64:
		return number, true
	case int:
		return int64(number), true
	case string:
		whole, err := strconv.ParseInt(number, 10, 64)
		return whole, err == nil
	}
	return 0, false
}

// secondsOf reads a duration in seconds within bounds: 0 for none, and at most a hundred years, so that adding it to a time cannot wrap.
func secondsOf(data map[string]any, key string) time.Duration {
	seconds, ok := numberOf(data, key)
	if !ok || seconds < 0 {
		return 0
	}
	return min(time.Duration(min(seconds, int64(longest/time.Second)))*time.Second, longest)
}

const longest = 100 * 365 * 24 * time.Hour

// bounded is a duration of an answer within the same bounds.
func bounded(duration time.Duration) time.Duration { return min(max(0, duration), longest) }

func timeOf(data map[string]any, key string) time.Time {
	at, err := time.Parse(time.RFC3339Nano, textOf(data, key))
	if err != nil {
		return time.Time{}
	}
	return at
}

// valueOf is a value of Vault's JSON: strings as they are, everything else as compact JSON, with the digits of numbers as they came where the
// caller keeps them (json.Number), and keys of objects sorted.
func valueOf(value any) (secrets.Value, error) {
	if text, ok := value.(string); ok {
		return secrets.ValueOf(text), nil
	}
	var encoded bytes.Buffer
	encoder := json.NewEncoder(&encoded)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return secrets.Value{}, fmt.Errorf("not JSON") // what the encoder says may quote the value
	}
	return secrets.NewValue(bytes.TrimSuffix(encoded.Bytes(), []byte("\n"))), nil
}

// valuesOf makes values of all that an object holds.
func valuesOf(doing string, object map[string]any) (secrets.Data, error) {
	data := secrets.Data{}
	for key, raw := range object {
		value, err := valueOf(raw)
		if err != nil {
			return nil, malformed(doing, "the value of %s is not JSON", names([]string{key}))
		}
		data[key] = value
	}
	return data, nil
}
