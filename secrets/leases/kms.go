package leases

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	kmsapi "k8s.io/kms/apis/v2"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// Bounds on what a plugin answers: those of the API server (KEP-3299).
const (
	maxKeyID       = 1 << 10
	maxEncrypted   = 1 << 10
	maxAnnotations = 32 << 10
	// kmsTimeout is what the API server gives a plugin for one call by default.
	kmsTimeout = 3 * time.Second
	dataKey    = 32
)

type kms struct {
	client kmsapi.KeyManagementServiceClient
}

// NewKMS seals with a KMS v2 plugin (KEP-3299) on a unix socket ("/run/kms.sock" or "unix:///run/kms.sock"), and asks it for its status first.
// The plugin encrypts a key of one use, and that encrypts the token with AES-256-GCM, with the owner as associated data: the protocol has
// no place for those, and bounds ciphertexts at 1 KiB. The connection lasts until ctx is done.
func NewKMS(ctx context.Context, socket string) (Sealer, error) {
	const doing = "connecting to the KMS plugin"
	path := strings.TrimPrefix(socket, "unix://")
	if !filepath.IsAbs(path) {
		return nil, &secrets.Error{Reason: secrets.Misconfigured, Doing: doing, Message: fmt.Sprintf("%q is not the absolute path of a unix socket", socket)}
	}
	connection, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<20)))
	if err != nil {
		return nil, &secrets.Error{Reason: secrets.Misconfigured, Doing: doing, Message: fmt.Sprintf("%q is not the path of a unix socket", socket)}
	}
	context.AfterFunc(ctx, func() { _ = connection.Close() })
	sealer := kms{client: kmsapi.NewKeyManagementServiceClient(connection)}
	if _, err := sealer.status(ctx); err != nil {
		_ = connection.Close()
		return nil, err
	}
	return sealer, nil
}

// status is the id of the plugin's present key.
func (k kms) status(ctx context.Context) (string, error) {
	const doing = "asking the KMS plugin for its status"
	ctx, cancel := context.WithTimeout(ctx, kmsTimeout)
	defer cancel()
	answer, err := k.client.Status(ctx, &kmsapi.StatusRequest{})
	if err != nil {
		return "", kmsError(ctx, doing, err)
	}
	switch {
	case answer.GetVersion() != "v2" && answer.GetVersion() != "v2beta1":
		return "", &secrets.Error{Reason: secrets.Misconfigured, Doing: doing, Message: "it is of another version than v2: give a plugin of KMS v2"}
	case answer.GetHealthz() != "ok":
		return "", &secrets.Error{Reason: secrets.Failed, Doing: doing, Message: "it does not say that it is healthy: see its log"}
	}
	return answer.GetKeyId(), checkKeyID(doing, answer.GetKeyId())
}

func checkKeyID(doing, id string) error {
	if id == "" || len(id) > maxKeyID || strings.ContainsFunc(id, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return malformedKMS(doing, "an id of its key that is empty, longer than 1 KiB or not text")
	}
	return nil
}

func malformedKMS(doing, what string) error {
	return &secrets.Error{Reason: secrets.Malformed, Doing: doing, Message: "the KMS plugin gives " + what + ", against KEP-3299: see its log"}
}

// kmsError says what failed by the code only: a plugin's words may hold anything.
func kmsError(ctx context.Context, doing string, err error) error {
	reason, message := secrets.Failed, "the KMS plugin answers "+status.Code(err).String()+": see its log"
	code := status.Code(err)
	if ctx.Err() != nil { // a plugin that notices it first may answer with any code
		code = status.FromContextError(ctx.Err()).Code()
	}
	switch code {
	case codes.Unavailable:
		reason, message = secrets.Unreachable, "the KMS plugin is not to be reached: see that it runs, and that its socket is the one given"
	case codes.DeadlineExceeded, codes.Canceled:
		reason, message = secrets.Slow, "the KMS plugin does not answer in time: see its log"
	}
	failed := &secrets.Error{Reason: reason, Doing: doing, Message: message}
	if code == codes.Canceled {
		failed.Cause = context.Canceled
	}
	return failed
}

func (k kms) Seal(ctx context.Context, token secrets.Value, owner string) (v1alpha1.SealedToken, error) {
	const doing = "sealing a token by the KMS plugin"
	if err := check(doing, token, owner); err != nil {
		return v1alpha1.SealedToken{}, err
	}
	key := make([]byte, dataKey)
	defer clear(key)
	if _, err := rand.Read(key); err != nil {
		return v1alpha1.SealedToken{}, &secrets.Error{Reason: secrets.Failed, Doing: doing, Message: "there is no randomness to be had"}
	}
	ctx, cancel := context.WithTimeout(ctx, kmsTimeout)
	defer cancel()
	answer, err := k.client.Encrypt(ctx, &kmsapi.EncryptRequest{Plaintext: key, Uid: uid()})
	if err != nil {
		return v1alpha1.SealedToken{}, kmsError(ctx, doing, err)
	}
	if err := checkKeyID(doing, answer.GetKeyId()); err != nil {
		return v1alpha1.SealedToken{}, err
	}
	encrypted := answer.GetCiphertext()
	if len(encrypted) == 0 || len(encrypted) > maxEncrypted {
		return v1alpha1.SealedToken{}, malformedKMS(doing, "a ciphertext that is empty or longer than 1 KiB")
	}
	annotations, size := map[string]string{}, 0
	for name, value := range answer.GetAnnotations() {
		size += len(name) + len(value)
		annotations[name] = base64.StdEncoding.EncodeToString(value)
	}
	if size > maxAnnotations {
		return v1alpha1.SealedToken{}, malformedKMS(doing, "more than 32 KiB of annotations")
	}
	// length of the encrypted key in two bytes, the encrypted key, the nonce, the encrypted token
	sealed := binary.BigEndian.AppendUint16(nil, uint16(len(encrypted)))
	sealed = append(sealed, encrypted...)
	aead, err := newAEAD(key)
	if err != nil {
		return v1alpha1.SealedToken{}, &secrets.Error{Reason: secrets.Failed, Doing: doing, Message: "there is no AES-GCM"}
	}
	sealed = append(sealed, aead.Seal(nil, nil, token.Reveal(), associated(owner, answer.GetKeyId(), encrypted))...)
	return v1alpha1.SealedToken{By: "kms:" + answer.GetKeyId(), Ciphertext: base64.StdEncoding.EncodeToString(sealed), Annotations: annotations}, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block) // the key has one use
}

// associated binds the owner, the id of the plugin's key and the encrypted key.
func associated(owner, keyID string, encrypted []byte) []byte {
	data := bound(owner)
	for _, part := range [][]byte{[]byte(keyID), encrypted} {
		data = binary.BigEndian.AppendUint64(data, uint64(len(part)))
		data = append(data, part...)
	}
	return data
}

func (k kms) Open(ctx context.Context, sealed v1alpha1.SealedToken, owner string) (secrets.Value, error) {
	const doing = "opening a token sealed by the KMS plugin"
	keyID, ok := strings.CutPrefix(sealed.By, "kms:")
	if !ok {
		return secrets.Value{}, otherSealer("opening a token", sealed.By, "the KMS plugin")
	}
	damaged := func() error {
		return &secrets.Error{Reason: secrets.Refused, Doing: doing, Message: "it was sealed for another VaultSecret, or is damaged; delete the VaultLease: its leases then end by themselves"}
	}
	raw, err := base64.StdEncoding.DecodeString(sealed.Ciphertext)
	if err != nil || len(raw) < 2 {
		return secrets.Value{}, damaged()
	}
	size := int(binary.BigEndian.Uint16(raw))
	if size == 0 || size > maxEncrypted || len(raw) < 2+size {
		return secrets.Value{}, damaged()
	}
	encrypted, body := raw[2:2+size], raw[2+size:]
	annotations := map[string][]byte{}
	for name, value := range sealed.Annotations {
		if annotations[name], err = base64.StdEncoding.DecodeString(value); err != nil {
			return secrets.Value{}, damaged()
		}
	}
	ctx, cancel := context.WithTimeout(ctx, kmsTimeout)
	defer cancel()
	answer, err := k.client.Decrypt(ctx, &kmsapi.DecryptRequest{Ciphertext: slices.Clone(encrypted), Uid: uid(), KeyId: keyID, Annotations: annotations})
	if err != nil {
		return secrets.Value{}, kmsError(ctx, doing, err)
	}
	key := answer.GetPlaintext()
	defer clear(key)
	if len(key) != dataKey {
		return secrets.Value{}, malformedKMS(doing, "a key of another size than it was given")
	}
	aead, err := newAEAD(key)
	if err != nil {
		return secrets.Value{}, damaged()
	}
	token, err := aead.Open(nil, nil, body, associated(owner, keyID, encrypted))
	if err != nil || len(token) == 0 {
		return secrets.Value{}, damaged()
	}
	return secrets.NewValue(token), nil
}

// uid names one request in the plugin's log.
func uid() string {
	var random [16]byte
	_, _ = rand.Read(random[:])
	return hex.EncodeToString(random[:])
}
