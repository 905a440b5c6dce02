// Package trialcert makes certificates for a trial: an authority, one for a server on this
// machine, and one for each client. The authority's key is not kept, so that nobody gets
// another certificate of it; whoever has an authority uses that.
package trialcert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"path/filepath"
	"time"

	"tarn/keys"
	"tarn/keys/fault"
)

// Organisation is in the names of all certificates, so that they are known for what they
// are.
const Organisation = "Tarn trial"

// Lasts is how long they last.
const Lasts = 30 * 24 * time.Hour

// Names of the files in the folder. A client's are its name with .pem and .key.
const (
	AuthorityFile = "ca.pem"
	ServerCert    = "server.pem"
	ServerKey     = "server.key"
)

// Make writes certificates into a folder: ca.pem, server.pem and server.key for the hosts
// (names or addresses), and NAME.pem and NAME.key for each client. None is written over.
func Make(folder string, hosts, clients []string, now time.Time) error {
	const doing = "making certificates for a trial"
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fault.New(fault.Internal, doing, "the system gives no random bytes", "")
	}
	authority := &x509.Certificate{
		Subject: pkix.Name{CommonName: "authority", Organization: []string{Organisation}}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(Lasts),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	sign := func(c *x509.Certificate, key *ecdsa.PrivateKey) ([]byte, error) {
		serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
		if err != nil {
			return nil, err
		}
		c.SerialNumber = serial
		der, err := x509.CreateCertificate(rand.Reader, c, authority, &key.PublicKey, authorityKey)
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), err
	}
	write := func(name string, content []byte) error {
		if err := keys.CreateFile(filepath.Join(folder, name), content); err != nil {
			return fault.Wrap(fault.Usage, doing, err, "name another folder with --out: nothing is written over")
		}
		return nil
	}
	own, err := sign(authority, authorityKey)
	if err != nil {
		return fault.New(fault.Internal, doing, "a certificate could not be signed", "")
	}
	if err := write(AuthorityFile, own); err != nil {
		return err
	}
	pair := func(c *x509.Certificate, cert, keyFile string) error {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return fault.New(fault.Internal, doing, "the system gives no random bytes", "")
		}
		c.NotBefore, c.NotAfter, c.KeyUsage = now.Add(-time.Hour), now.Add(Lasts), x509.KeyUsageDigitalSignature
		signed, err := sign(c, key)
		if err != nil {
			return fault.New(fault.Internal, doing, "a certificate could not be signed", "give names of hosts and clients as certificates have them")
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return fault.New(fault.Internal, doing, "a key could not be written", "")
		}
		defer clear(der)
		content := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
		defer clear(content)
		if err := write(keyFile, content); err != nil {
			return err
		}
		return write(cert, signed)
	}
	server := &x509.Certificate{Subject: pkix.Name{CommonName: hosts[0], Organization: []string{Organisation}}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			server.IPAddresses = append(server.IPAddresses, ip)
		} else {
			server.DNSNames = append(server.DNSNames, host)
		}
	}
	if err := pair(server, ServerCert, ServerKey); err != nil {
		return err
	}
	for _, name := range clients {
		c := &x509.Certificate{Subject: pkix.Name{CommonName: name, Organization: []string{Organisation}}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		if err := pair(c, name+".pem", name+".key"); err != nil {
			return err
		}
	}
	return nil
}
