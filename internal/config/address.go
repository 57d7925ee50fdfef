package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
)

var (
	anAddress = kind[string]{parseAddress, func(s string) string { return s },
		map[string]any{"type": "string", "examples": []string{":3000", "127.0.0.1:3000"}}}
	anAddressOrOff = kind[string]{parseAddressOrOff, func(s string) string { return s },
		map[string]any{"type": "string", "examples": []string{"127.0.0.1:3001", "off"}}}
	aURL = kind[string]{parsePublicURL, func(s string) string { return s },
		map[string]any{"type": "string", "format": "uri"}}
)

func parseAddress(s string) (string, error) {
	wrong := fmt.Errorf("%q is not an address to listen on: allowed are :PORT and ADDRESS:PORT, such as 127.0.0.1:3000", s)
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", wrong
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return "", wrong
	}
	return s, nil
}

func parseAddressOrOff(s string) (string, error) {
	if s == "off" {
		return "", nil
	}
	return parseAddress(s)
}

func parsePublicURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", fmt.Errorf("%q is not a public URL: allowed is http:// or https:// with a host and no query, such as https://hooks.example.fr", s)
	}
	return s, nil
}

// PublicAddress tells whether others than this machine can reach an address that is listened on.
func PublicAddress(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return true
	}
	if host == "localhost" {
		return false
	}
	a, err := netip.ParseAddr(host)
	return err != nil || !a.IsLoopback()
}
