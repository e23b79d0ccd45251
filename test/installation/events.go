package installation

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"time"
)

// NewSender is a client that the responder takes for [Sender], and the URL where a pod of the responder takes events.
func (i *Installation) NewSender(ctx context.Context) (client *http.Client, url string, err error) {
	names, err := i.Pods(ctx, Responder)
	if err != nil {
		return nil, "", err
	}
	if len(names) == 0 {
		return nil, "", fmt.Errorf("looking for a pod of the responder: there is none; name %s among the components", Responder)
	}
	address, err := i.Address(names[0], "https")
	if err != nil {
		return nil, "", err
	}
	pair, err := i.Senders.Issue(Sender)
	if err != nil {
		return nil, "", err
	}
	certificate, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
	if err != nil {
		return nil, "", fmt.Errorf("reading the certificate of a sender: %w", err)
	}
	authority, err := os.ReadFile(i.Serving.File)
	if err != nil {
		return nil, "", fmt.Errorf("reading the authority of what is served: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: roots, ServerName: "portcullis-responder", Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12,
	}}}
	return client, "https://" + address + "/v1/falco", nil
}
