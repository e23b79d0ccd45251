package engine

import (
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

func keysOf(values map[string]string) []string { return slices.Sorted(maps.Keys(values)) }

func decodeBase64(text string) ([]byte, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("not base64") // what the decoder says quotes a character
	}
	return raw, nil
}

func isBase64(text string) bool {
	_, err := decodeBase64(text)
	return err == nil
}

// decrypt has all ciphertexts decrypted by one request. https://developer.hashicorp.com/vault/api-docs/secret/transit#decrypt-data
func decrypt(ctx context.Context, caller Caller, transit *v1alpha1.TransitSource, place secrets.SyncPlace, options Options) (*Result, error) {
	if err := checkMount(ctx, caller, place, options); err != nil {
		return nil, err
	}
	doing := "decrypting by " + place.Accesses[0].Path
	data, err := decryptBatch(ctx, caller, transit, place, place.Keys)
	if secrets.ReasonOf(err) == secrets.Refused {
		// Vault refuses the batch where one of it is bad: find out which. Those before it decrypt and are dropped.
		for _, key := range place.Keys {
			if _, one := decryptBatch(ctx, caller, transit, place, []string{key}); secrets.ReasonOf(one) == secrets.Refused {
				return nil, retold(one, doing, "Vault does not decrypt "+names([]string{key})+": the ciphertext is of another key or context, of a version below min_decryption_version, or damaged; encrypt it again")
			}
		}
	}
	if err != nil {
		return nil, err
	}
	return &Result{Data: data}, nil
}

func decryptBatch(ctx context.Context, caller Caller, transit *v1alpha1.TransitSource, place secrets.SyncPlace, keys []string) (secrets.Data, error) {
	doing := "decrypting by " + place.Accesses[0].Path
	batch := make([]any, 0, len(keys))
	for _, key := range keys {
		item := map[string]any{"ciphertext": transit.Ciphertexts[key]}
		if transit.Context != "" {
			item["context"] = transit.Context
		}
		batch = append(batch, item)
	}
	reply, err := caller.Do(ctx, secrets.Call{Method: http.MethodPut, Path: place.Accesses[0].Path, Body: map[string]any{"batch_input": batch}})
	if err != nil {
		return nil, err
	}
	results, _ := dataOf(reply)["batch_results"].([]any)
	if len(results) != len(keys) {
		return nil, malformed(doing, "%d results for %d ciphertexts", len(results), len(keys))
	}
	data := secrets.Data{}
	for i, key := range keys {
		result, _ := results[i].(map[string]any)
		text, ok := result["plaintext"].(string)
		if !ok {
			return nil, &secrets.Error{Reason: secrets.Refused, Doing: doing, Message: "Vault does not decrypt " + names([]string{key})}
		}
		plain, err := decodeBase64(text)
		if err != nil {
			return nil, malformed(doing, "the plaintext of %s is not base64", names([]string{key}))
		}
		data[key] = secrets.NewValue(plain)
	}
	return data, nil
}

// readPublicKeys publishes the public halves of a transit key: KEY.pem of the latest version, KEY-vN.pem of each that still counts.
func readPublicKeys(ctx context.Context, caller Caller, transit *v1alpha1.TransitSource, place secrets.SyncPlace, options Options) (*Result, error) {
	path := place.Accesses[0].Path
	doing := "reading " + path
	if err := checkMount(ctx, caller, place, options); err != nil {
		return nil, err
	}
	call := secrets.Call{Method: http.MethodGet, Path: path, Shared: true}
	if transit.Context != "" {
		call.Query = url.Values{"context": {transit.Context}} // derived keys have a public half for each context
	}
	reply, err := caller.Do(ctx, call)
	if secrets.ReasonOf(err) == secrets.NotFound {
		return nil, retold(err, doing, "there is no such key: make it in Vault, or correct transit.key")
	}
	if err != nil {
		return nil, err
	}
	data := dataOf(reply)
	latest, ok := numberOf(data, "latest_version")
	least, _ := numberOf(data, "min_decryption_version")
	versions := objectOf(data, "keys")
	if !ok || latest <= 0 || len(versions) == 0 {
		return nil, malformed(doing, "there are no versions of the key")
	}
	result := &Result{Data: secrets.Data{}, Version: strconv.FormatInt(latest, 10), Number: latest}
	for name, raw := range versions {
		version, err := strconv.ParseInt(name, 10, 64)
		if err != nil || version <= 0 {
			return nil, malformed(doing, "a version of the key is no number")
		}
		if version < least || version > latest {
			continue
		}
		described, ok := raw.(map[string]any)
		text := textOf(described, "public_key")
		if !ok || text == "" {
			return nil, misconfigured(doing, "the key has no public half, or is derived and transit.context is missing: name a key for signing")
		}
		public, err := parsePublicKey(text)
		if err != nil {
			return nil, malformed(doing, "the public key of version %d: %s", version, err)
		}
		encoded, err := encodePublicKey(public)
		if err != nil {
			return nil, malformed(doing, "the public key of version %d: %s", version, err)
		}
		result.Data[transit.Key+"-v"+strconv.FormatInt(version, 10)+".pem"] = encoded
		if version == latest {
			result.Data[transit.Key+".pem"], result.Created = encoded, timeOf(described, "creation_time")
		}
	}
	if _, ok := result.Data[transit.Key+".pem"]; !ok {
		return nil, malformed(doing, "the latest version of the key is missing")
	}
	return result, nil
}
