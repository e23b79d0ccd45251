package engine

import (
	"crypto/rand"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// charsets are what passwords are made of. ASCII is all that is seen but the space.
var charsets = map[string]string{
	"Alphanumeric": alphanumeric,
	"ASCII":        printable(),
	"Hex":          "0123456789abcdef",
	"Base64URL":    alphanumeric + "-_",
}

const alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

func printable() string {
	var all strings.Builder
	for c := byte('!'); c <= '~'; c++ {
		all.WriteByte(c)
	}
	return all.String()
}

// Bounds of passwords in characters. Of the smallest alphabet, 16 characters are 64 bits.
const (
	defaultLength = 32
	minLength     = 16
	maxLength     = 1024
)

// Generate makes values by key: passwords, each character with the same chance, or private keys in PKCS #8 with their public half in PKIX beside
// them as KEY.pub. random is the system's for nil.
func Generate(generators map[string]v1alpha1.Generator, random io.Reader) (secrets.Data, error) {
	const doing = "generating values"
	if random == nil {
		random = rand.Reader
	}
	keys := slices.Sorted(maps.Keys(generators))
	if err := checkKeys(doing, "generate", keys); err != nil {
		return nil, err
	}
	data := secrets.Data{}
	for _, key := range keys {
		generator := generators[key]
		var err error
		if generator.PrivateKey != "" {
			if _, taken := generators[key+".pub"]; taken {
				return nil, misconfigured(doing, "%s is the public half of %s: name one of them otherwise", names([]string{key + ".pub"}), names([]string{key}))
			}
			data[key], data[key+".pub"], err = generateKey(doing, key, generator, random)
		} else {
			data[key], err = generatePassword(doing, key, generator, random)
		}
		if err != nil {
			data.Clear()
			return nil, err
		}
	}
	return data, nil
}

func generateKey(doing, key string, generator v1alpha1.Generator, random io.Reader) (secrets.Value, secrets.Value, error) {
	if generator.Length != 0 || generator.Charset != "" {
		return secrets.Value{}, secrets.Value{}, misconfigured(doing, "%s is a private key, which has no length and no charset: leave them out", names([]string{key}))
	}
	if !knownAlgorithm(generator.PrivateKey) {
		return secrets.Value{}, secrets.Value{}, misconfigured(doing, "%s is a private key of the algorithm %q: there are %s", names([]string{key}), generator.PrivateKey, strings.Join(algorithms, ", "))
	}
	made, err := makeKey(generator.PrivateKey, random)
	if err != nil {
		return secrets.Value{}, secrets.Value{}, noRandomness(doing)
	}
	private, err := encodeKey(made, false)
	if err != nil {
		return secrets.Value{}, secrets.Value{}, &secrets.Error{Reason: secrets.Failed, Doing: doing, Message: err.Error()}
	}
	public, err := encodePublicKey(made.Public())
	if err != nil {
		return secrets.Value{}, secrets.Value{}, &secrets.Error{Reason: secrets.Failed, Doing: doing, Message: err.Error()}
	}
	return private, public, nil
}

func noRandomness(doing string) error {
	return &secrets.Error{Reason: secrets.Failed, Doing: doing, Message: "there is no randomness to be had"}
}

func generatePassword(doing, key string, generator v1alpha1.Generator, random io.Reader) (secrets.Value, error) {
	length := generator.Length
	if length == 0 {
		length = defaultLength
	}
	if length < minLength || length > maxLength {
		return secrets.Value{}, misconfigured(doing, "%s has a length of %d: it is from %d to %d", names([]string{key}), length, minLength, maxLength)
	}
	charset, ok := charsets[orElse(generator.Charset, "Alphanumeric")]
	if !ok {
		return secrets.Value{}, misconfigured(doing, "%s has the charset %q: there are Alphanumeric, ASCII, Hex and Base64URL", names([]string{key}), generator.Charset)
	}
	// Bytes beyond the last whole multiple of the alphabet are thrown away: with them, its first characters would come more often.
	limit := 256 - 256%len(charset)
	password := make([]byte, 0, length)
	buffer := make([]byte, 64)
	for len(password) < int(length) {
		if _, err := io.ReadFull(random, buffer); err != nil {
			clear(password)
			return secrets.Value{}, noRandomness(doing)
		}
		for _, b := range buffer {
			if int(b) < limit && len(password) < int(length) {
				password = append(password, charset[int(b)%len(charset)])
			}
		}
	}
	clear(buffer)
	return secrets.NewValue(password), nil
}
