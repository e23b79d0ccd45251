package vault

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/secrets"
)

// maxWords is how much of what Vault says is passed on, in bytes.
const maxWords = 200

// unanswered says what it means that there is no whole answer.
func unanswered(doing string, err error, timeout time.Duration) *secrets.Error {
	fault := &secrets.Error{Reason: secrets.Unreachable, Doing: doing, Cause: contextOf(err)}
	var (
		invalid   x509.CertificateInvalidError
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		verify    *tls.CertificateVerificationError
		lookup    *net.DNSError
		operation *net.OpError
	)
	switch {
	case errors.Is(err, errTooLarge):
		fault.Reason, fault.Message = secrets.Malformed, fmt.Sprintf("the answer has more than %d MiB: is this Vault?", maxBody>>20)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		fault.Reason, fault.Message = secrets.Untrusted, "the certificate of Vault is not valid now"
		if invalid.Cert != nil {
			fault.Message += fmt.Sprintf(" (from %s to %s)", invalid.Cert.NotBefore.UTC().Format(time.RFC3339), invalid.Cert.NotAfter.UTC().Format(time.RFC3339))
		}
		fault.Message += ": renew it, and look at the clocks"
	case errors.As(err, &authority):
		fault.Reason, fault.Message = secrets.Untrusted, "the certificate of Vault is of an authority that spec.caBundle of the VaultConnection does not hold: put it there"
	case errors.As(err, &host):
		fault.Reason, fault.Message = secrets.Untrusted, "the certificate of Vault is for another name: set spec.tlsServerName of the VaultConnection, or another address"
	case errors.As(err, &verify), errors.As(err, &invalid):
		fault.Reason, fault.Message = secrets.Untrusted, "the certificate of Vault cannot be verified"
	case errors.Is(err, context.DeadlineExceeded), timedOut(err):
		fault.Reason, fault.Message = secrets.Slow, fmt.Sprintf("no answer within %s: look at Vault's load and the network, or raise spec.timeout of the VaultConnection", timeout)
	case errors.Is(err, context.Canceled):
		fault.Reason, fault.Message = secrets.Failed, "it was given up"
	case errors.As(err, &lookup):
		fault.Message = "the name of spec.address of the VaultConnection cannot be resolved"
	case errors.As(err, &operation) && operation.Op == "dial":
		fault.Message = "no connection: is Vault running, and spec.address of the VaultConnection right?"
	default: // an end before the answer began as well: TLS calls any end without a farewell unexpected
		fault.Message = "the connection broke: look at Vault and what is between"
	}
	return fault
}

// broken says what it means that an answer began and did not end.
func broken(doing string, err error, timeout time.Duration) error {
	fault := unanswered(doing, err, timeout)
	if fault.Reason == secrets.Unreachable { // reset, or a stream that was ended
		fault.Reason, fault.Message = secrets.Truncated, "the answer ends before its end: look at what is between here and Vault"
	}
	return fault
}

// errInvalidToken is the cause of a 403 that Vault gives for the token itself, and not for what its policies say.
var errInvalidToken = errors.New("invalid token")

func contextOf(err error) error {
	for _, known := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return known
		}
	}
	return nil
}

func timedOut(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// refused says what it means that Vault answered with a status that is none of success. words says whether what it says may be
// passed on.
func refused(doing string, response *http.Response, body []byte, words bool) error {
	fault := &secrets.Error{Doing: doing, Status: response.StatusCode, Reason: secrets.Failed}
	said, vaults := errorsOf(response.Header, body)
	switch {
	case response.StatusCode == http.StatusServiceUnavailable && vaults && strings.Contains(strings.Join(said, " "), "sealed"):
		fault.Reason, fault.Message = secrets.Sealed, "Vault is sealed: unseal it"
		return fault
	case response.StatusCode == http.StatusTooManyRequests:
		fault.Reason, fault.Message, fault.After = secrets.RateLimited, "Vault is asked too often (a quota of its own)", retryAfter(response.Header)
		return fault
	case response.StatusCode == http.StatusPreconditionFailed:
		fault.Reason, fault.Message = secrets.Behind, "this node of Vault does not know yet what was written last"
		return fault
	case response.StatusCode >= 500:
		fault.Message = "Vault failed: look at its log"
		return fault
	case response.StatusCode >= 300 && response.StatusCode < 400:
		fault.Reason, fault.Message = secrets.Malformed, "it redirects, which is not followed, since the token would go along: name the active node or a load balancer in spec.address of the VaultConnection"
		return fault
	case !vaults:
		fault.Reason, fault.Message = secrets.Malformed, "the answer is not Vault's: is something else at this address, or a proxy before it?"
		return fault
	case response.StatusCode == http.StatusNotFound:
		fault.Reason, fault.Message = secrets.NotFound, "there is nothing at this path"
	case response.StatusCode == http.StatusForbidden:
		fault.Reason, fault.Message = secrets.Forbidden, "Vault's policies do not allow it to this identity"
		if strings.Contains(strings.Join(said, " "), errInvalidToken.Error()) {
			fault.Cause = errInvalidToken
		}
	default:
		fault.Reason, fault.Message = secrets.Refused, "Vault refuses the request"
	}
	if text := oneLine(said); words && text != "" && response.StatusCode != http.StatusForbidden {
		fault.Message += ": " + text
	}
	return fault
}

// errorsOf is what Vault says in its way ({"errors": […]}), and whether that is what the answer is.
func errorsOf(header http.Header, body []byte) ([]string, bool) {
	if kind, _, err := mime.ParseMediaType(header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, false
	}
	var answer struct {
		Errors *[]string      `json:"errors"`
		Data   map[string]any `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, false
	}
	if answer.Errors == nil {
		_, deleted := answer.Data["metadata"] // a version of KV that was deleted: 404 with its metadata
		return nil, deleted
	}
	return *answer.Errors, true
}

func oneLine(said []string) string {
	text := strings.Join(strings.Fields(strings.Join(said, "; ")), " ")
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, text)
	if len(text) > maxWords {
		text = strings.ToValidUTF8(text[:maxWords], "") + "…"
	}
	return text
}

// retryAfter is what RFC 9110, section 10.2.3 lets a server ask for, in seconds; dates are not Vault's.
func retryAfter(header http.Header) time.Duration {
	seconds, err := strconv.ParseInt(header.Get("Retry-After"), 10, 32)
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// decode reads an answer of success. An empty one is none.
func decode(doing string, response *http.Response, body []byte) (*answer, error) {
	if response.StatusCode == http.StatusNoContent || len(bytes.TrimSpace(body)) == 0 {
		return &answer{}, nil
	}
	kind, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	var read answer
	if err == nil && kind == "application/json" {
		decoder := json.NewDecoder(bytes.NewReader(body))
		decoder.UseNumber()
		err = decoder.Decode(&read)
	} else {
		err = errors.New("not JSON")
	}
	if err != nil { // whose text could quote the answer
		return nil, &secrets.Error{Reason: secrets.Malformed, Doing: doing, Status: response.StatusCode, Message: "the answer is not Vault's: is something else at this address, or a proxy before it?"}
	}
	return &read, nil
}

// answer is what Vault answers.
type answer struct {
	Data          map[string]any `json:"data"`
	LeaseID       string         `json:"lease_id"`
	LeaseDuration int64          `json:"lease_duration"`
	Renewable     bool           `json:"renewable"`
	Warnings      []string       `json:"warnings"`
	Auth          *struct {
		ClientToken   string `json:"client_token"`
		Accessor      string `json:"accessor"`
		LeaseDuration int64  `json:"lease_duration"`
		Renewable     bool   `json:"renewable"`
		TokenType     string `json:"token_type"`
	} `json:"auth"`
	// The fields of sys/health, which has no data.
	Initialized *bool  `json:"initialized"`
	Sealed      *bool  `json:"sealed"`
	Standby     bool   `json:"standby"`
	Version     string `json:"version"`
}

// GoString keeps an answer out of prints.
func (answer) GoString() string { return "vault.answer{" + secrets.Redacted + "}" }
func (answer) String() string   { return "vault.answer{" + secrets.Redacted + "}" }
