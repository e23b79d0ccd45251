package source

import (
	"errors"
	"fmt"
	"net/url"
)

// Proxy reads a proxyURL, nil for "": the proxy is that of the environment then.
func Proxy(text string) (*url.URL, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // no proxy is no error
	}
	proxy, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("proxyURL is no URL: write http://HOST:PORT")
	case proxy.Scheme != "http" && proxy.Scheme != "https" || proxy.Hostname() == "":
		return nil, fmt.Errorf("proxyURL has the scheme %.20q: write http://HOST:PORT or https://HOST:PORT", proxy.Scheme)
	}
	return proxy, nil
}
