package leases

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/kms/pkg/service"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

const canary = "hvs.canary-token-3f9c"

// plugin is a KMS v2 plugin with keys in memory: AES-256-GCM, with an annotation that it needs again.
type plugin struct {
	mu      sync.Mutex
	keys    map[string]cipher.AEAD
	present string
	// What the next answers are instead; for faults.
	status  *service.StatusResponse
	encrypt func(*service.EncryptResponse)
	fail    error
	hang    bool
	seen    [][]byte
}

func (p *plugin) rotate(t *testing.T, id string) {
	t.Helper()
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys[id], p.present = aead, id
}

func (p *plugin) fault(ctx context.Context) error {
	if p.hang {
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err() // the deadline travels with the call: a plugin may see it first
	}
	return p.fail
}

func (p *plugin) Encrypt(ctx context.Context, uid string, data []byte) (*service.EncryptResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, append([]byte(nil), data...))
	if err := p.fault(ctx); err != nil {
		return nil, err
	}
	if uid == "" {
		return nil, errors.New("no uid")
	}
	answer := &service.EncryptResponse{KeyID: p.present, Ciphertext: p.keys[p.present].Seal(nil, nil, data, nil), Annotations: map[string][]byte{"round.test.example": {1, 2, 3}}}
	if p.encrypt != nil {
		p.encrypt(answer)
	}
	return answer, nil
}

func (p *plugin) Decrypt(ctx context.Context, uid string, request *service.DecryptRequest) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.fault(ctx); err != nil {
		return nil, err
	}
	aead, ok := p.keys[request.KeyID]
	if !ok || string(request.Annotations["round.test.example"]) != "\x01\x02\x03" || uid == "" {
		return nil, status.Error(codes.NotFound, "no such key, or no annotation: "+canary)
	}
	return aead.Open(nil, nil, request.Ciphertext, nil)
}

func (p *plugin) Status(ctx context.Context) (*service.StatusResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.fault(ctx); err != nil {
		return nil, err
	}
	if p.status != nil {
		return p.status, nil
	}
	return &service.StatusResponse{Version: "v2", Healthz: "ok", KeyID: p.present}, nil
}

func (p *plugin) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// serve runs a plugin by the gRPC service of k8s.io/kms.
func serve(t *testing.T) (*plugin, string) {
	t.Helper()
	p := &plugin{keys: map[string]cipher.AEAD{}}
	p.rotate(t, "key-1")
	socket := filepath.Join(t.TempDir(), "kms.sock")
	server := service.NewGRPCService(socket, time.Second, p)
	done := make(chan error, 1)
	go func() { done <- server.ListenAndServe() }()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	return p, socket
}

func newKMS(t *testing.T, socket string) Sealer {
	t.Helper()
	var sealer Sealer
	// The service listens in a moment.
	if err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		var err error
		sealer, err = NewKMS(t.Context(), socket)
		return err == nil, nil
	}); err != nil {
		t.Fatal(err)
	}
	return sealer
}

func TestATokenSealedByAKMSPluginOpensForItsOwnerOnly(t *testing.T) {
	p, socket := serve(t)
	for _, address := range []string{socket, "unix://" + socket} {
		sealer := newKMS(t, address)
		sealed, err := sealer.Seal(t.Context(), secrets.ValueOf(canary), "uid-a")
		if err != nil {
			t.Fatal(err)
		}
		if sealed.By != "kms:key-1" || len(sealed.Annotations) != 1 {
			t.Errorf("got by %q with %d annotations, want kms:key-1 with one", sealed.By, len(sealed.Annotations))
		}
		// As it lies in the cluster and comes back.
		text, err := json.Marshal(sealed)
		if err != nil || strings.Contains(string(text), canary) {
			t.Fatalf("the sealed token holds the token (%v)", err)
		}
		var kept v1alpha1.SealedToken
		if err := json.Unmarshal(text, &kept); err != nil {
			t.Fatal(err)
		}
		token, err := sealer.Open(t.Context(), kept, "uid-a")
		if err != nil || string(token.Reveal()) != canary {
			t.Errorf("got another token (%v)", err)
		}
		if _, err := sealer.Open(t.Context(), kept, "uid-b"); secrets.ReasonOf(err) != secrets.Refused {
			t.Errorf("for another owner: got %v, want Refused", err)
		}
	}
	for _, seen := range p.seen {
		if strings.Contains(string(seen), canary) {
			t.Error("the plugin was shown the token")
		}
	}
}

func TestTokensSealedBeforeAKeyWasRotatedOpenStill(t *testing.T) {
	p, socket := serve(t)
	sealer := newKMS(t, socket)
	before, err := sealer.Seal(t.Context(), secrets.ValueOf(canary), "uid")
	if err != nil {
		t.Fatal(err)
	}
	p.rotate(t, "key-2")
	after, err := sealer.Seal(t.Context(), secrets.ValueOf(canary), "uid")
	if err != nil || after.By != "kms:key-2" {
		t.Fatalf("got by %q (%v), want kms:key-2", after.By, err)
	}
	for _, sealed := range []v1alpha1.SealedToken{before, after} {
		if token, err := sealer.Open(t.Context(), sealed, "uid"); err != nil || string(token.Reveal()) != canary {
			t.Errorf("by %s: got another token (%v)", sealed.By, err)
		}
	}
	// The id of one key on what another sealed.
	before.By = after.By
	if _, err := sealer.Open(t.Context(), before, "uid"); err == nil {
		t.Error("opened by another key")
	}
}

func TestASealedTokenThatWasChangedDoesNotOpen(t *testing.T) {
	_, socket := serve(t)
	sealer := newKMS(t, socket)
	good, err := sealer.Seal(t.Context(), secrets.ValueOf(canary), "uid")
	if err != nil {
		t.Fatal(err)
	}
	other, err := sealer.Seal(t.Context(), secrets.ValueOf("another"), "uid")
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := base64.StdEncoding.DecodeString(good.Ciphertext)
	otherRaw, _ := base64.StdEncoding.DecodeString(other.Ciphertext)
	size := 2 + int(raw[0])<<8 + int(raw[1])
	changed := map[string][]byte{
		"nothing":                     {},
		"one byte":                    raw[:1],
		"a length only":               raw[:2],
		"half a key":                  raw[:size/2],
		"no token":                    raw[:size],
		"half a token":                raw[:size+20],
		"a length of nothing":         append([]byte{0, 0}, raw[2:]...),
		"a length beyond its end":     append([]byte{255, 255}, raw[2:]...),
		"the key of another, same by": append(append([]byte(nil), otherRaw[:size]...), raw[size:]...),
	}
	for at := 2; at < len(raw); at += 7 {
		flipped := append([]byte(nil), raw...)
		flipped[at] ^= 1
		changed[fmt.Sprintf("byte %d", at)] = flipped
	}
	for what, bytes := range changed {
		sealed := good
		sealed.Ciphertext = base64.StdEncoding.EncodeToString(bytes)
		if token, err := sealer.Open(t.Context(), sealed, "uid"); err == nil || token.Len() != 0 {
			t.Errorf("%s: it opened", what)
		}
	}
	for what, change := range map[string]func(*v1alpha1.SealedToken){
		"text that is no base64":        func(s *v1alpha1.SealedToken) { s.Ciphertext = "!" },
		"an annotation without base64":  func(s *v1alpha1.SealedToken) { s.Annotations = map[string]string{"round.test.example": "!"} },
		"no annotations":                func(s *v1alpha1.SealedToken) { s.Annotations = nil },
		"by transit":                    func(s *v1alpha1.SealedToken) { s.By = "transit:transit/leases" },
		"by nothing":                    func(s *v1alpha1.SealedToken) { s.By = "" },
		"by a key that is nobody's now": func(s *v1alpha1.SealedToken) { s.By = "kms:key-0" },
	} {
		sealed := good
		change(&sealed)
		_, err := sealer.Open(t.Context(), sealed, "uid")
		if err == nil {
			t.Errorf("%s: it opened", what)
		} else if strings.Contains(err.Error(), canary) {
			t.Errorf("%s: the error holds what the plugin said: %v", what, err)
		}
	}
}

func TestAKMSPluginThatIsNotAsItShouldBeIsNotUsed(t *testing.T) {
	for what, test := range map[string]struct {
		status *service.StatusResponse
		want   secrets.Reason
	}{
		"of version 1":    {&service.StatusResponse{Version: "v1beta1", Healthz: "ok", KeyID: "a"}, secrets.Misconfigured},
		"ill":             {&service.StatusResponse{Version: "v2", Healthz: "no: " + canary, KeyID: "a"}, secrets.Failed},
		"without a key":   {&service.StatusResponse{Version: "v2", Healthz: "ok"}, secrets.Malformed},
		"with a long key": {&service.StatusResponse{Version: "v2", Healthz: "ok", KeyID: strings.Repeat("a", 1025)}, secrets.Malformed},
	} {
		p, socket := serve(t)
		newKMS(t, socket)
		p.set(func() { p.status = test.status })
		if _, err := NewKMS(t.Context(), socket); secrets.ReasonOf(err) != test.want || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: got %v, want %s", what, err, test.want)
		}
	}
	for what, test := range map[string]struct {
		change func(*service.EncryptResponse)
	}{
		"an empty ciphertext":     {func(r *service.EncryptResponse) { r.Ciphertext = nil }},
		"a long ciphertext":       {func(r *service.EncryptResponse) { r.Ciphertext = make([]byte, 1025) }},
		"no id of a key":          {func(r *service.EncryptResponse) { r.KeyID = "" }},
		"an id of two lines":      {func(r *service.EncryptResponse) { r.KeyID = "a\nb" }},
		"annotations without end": {func(r *service.EncryptResponse) { r.Annotations["big.example"] = make([]byte, 32<<10) }},
	} {
		p, socket := serve(t)
		sealer := newKMS(t, socket)
		p.set(func() { p.encrypt = test.change })
		if _, err := sealer.Seal(t.Context(), secrets.ValueOf(canary), "uid"); secrets.ReasonOf(err) != secrets.Malformed {
			t.Errorf("%s: got %v, want Malformed", what, err)
		}
	}
}

func TestFailuresOfAKMSPluginSayWhatToDoAndNotWhatItSaid(t *testing.T) {
	p, socket := serve(t)
	sealer := newKMS(t, socket)
	sealed, err := sealer.Seal(t.Context(), secrets.ValueOf(canary), "uid")
	if err != nil {
		t.Fatal(err)
	}
	for what, test := range map[string]struct {
		fail error
		hang bool
		want secrets.Reason
	}{
		"it fails":               {status.Error(codes.Internal, canary), false, secrets.Failed},
		"it says it is away":     {status.Error(codes.Unavailable, canary), false, secrets.Unreachable},
		"it does not answer":     {errors.New(canary), true, secrets.Slow},
		"it fails without codes": {errors.New(canary), false, secrets.Failed},
	} {
		p.set(func() { p.fail, p.hang = test.fail, test.hang })
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		if test.hang {
			ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		}
		_, sealing := sealer.Seal(ctx, secrets.ValueOf(canary), "uid")
		cancel()
		ctx, cancel = context.WithTimeout(t.Context(), 2*time.Second)
		if test.hang {
			ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		}
		_, opening := sealer.Open(ctx, sealed, "uid")
		cancel()
		for _, err := range []error{sealing, opening} {
			if secrets.ReasonOf(err) != test.want || strings.Contains(err.Error(), canary) {
				t.Errorf("%s: got %v, want %s", what, err, test.want)
			}
		}
	}
	for _, address := range []string{"", "kms.sock", "tcp://127.0.0.1:1", "unix://kms.sock"} {
		if _, err := NewKMS(t.Context(), address); secrets.ReasonOf(err) != secrets.Misconfigured {
			t.Errorf("the address %q: got %v, want Misconfigured", address, err)
		}
	}
	if _, err := NewKMS(t.Context(), filepath.Join(t.TempDir(), "none.sock")); secrets.ReasonOf(err) != secrets.Unreachable {
		t.Errorf("no socket: got %v, want Unreachable", err)
	}
	for what, token := range map[string]secrets.Value{"no token": {}, "no owner": secrets.ValueOf("a")} {
		if _, err := sealer.Seal(t.Context(), token, ""); secrets.ReasonOf(err) != secrets.Misconfigured {
			t.Errorf("%s: got %v, want Misconfigured", what, err)
		}
	}
}
