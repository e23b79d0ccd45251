package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/url"
)

// plainly cuts the address off an error of the network: the message names the host
// already, and addresses of storage services hold signatures.
func plainly(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return errors.New("the connection broke off")
	}
	return err
}

// speaksNoTLS says whether the server answered a TLS handshake with something else, as it does where it speaks HTTP.
func speaksNoTLS(err error) bool {
	var record tls.RecordHeaderError
	return errors.As(err, &record)
}

// certificateProblem says whether the server's certificate was not accepted, which no
// other try changes.
func certificateProblem(err error) bool {
	var verification *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	return errors.As(err, &verification) || errors.As(err, &unknown) || errors.As(err, &name)
}
