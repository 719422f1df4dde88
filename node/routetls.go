package node

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"time"
)

// routeName is in every certificate of a cluster's servers. They are told apart by
// who signed them, not by their addresses.
const routeName = "mnq-cluster"

// Certificates for routes never expire: each is made anew at every start and signed
// with a key that is on the same disk, so a date would only make clocks matter.
var (
	routeNotBefore = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	routeNotAfter  = time.Date(2120, 1, 1, 0, 0, 0, 0, time.UTC)
)

// routeTLS is the configuration of the connections between a cluster's servers:
// both sides need a certificate of an authority that is derived from the operator
// key, so whoever holds the key is a member and nobody else.
func (k *keys) routeTLS(node string) (*tls.Config, error) {
	seed, err := k.derive("cluster authority")
	if err != nil {
		return nil, err
	}
	authority := ed25519.NewKeyFromSeed(seed)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mnq cluster authority"},
		NotBefore: routeNotBefore, NotAfter: routeNotAfter,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, authority.Public(), authority)
	if err != nil {
		return nil, err
	}
	if root, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: node}, DNSNames: []string{routeName},
		NotBefore: routeNotBefore, NotAfter: routeNotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if der, err = x509.CreateCertificate(rand.Reader, leaf, root, public, authority); err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: routeName,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}},
		RootCAs:      pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}, nil
}
