package holder

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/holder/internal/authority"
	"tarn/keys/holder/internal/custody"
	"tarn/keys/holder/internal/keyring"
	"tarn/keys/holder/internal/store"
	"tarn/keys/secret"
)

// The files of a deployment's folder beside root.json and the store.
const (
	AuthorityFile  = "ca.pem"     // the authority's certificate, for clients
	ServerCertFile = "server.pem" // the server's certificate and the authority's
	ServerKeyFile  = "server.key"
)

// serverLifetime is how long a server's certificate lasts.
const serverLifetime = 365 * 24 * time.Hour

// Custody says how a root key is kept.
type Custody struct {
	Method     string // identity, passphrase or shares
	Passphrase []byte
	Threshold  int
	Shares     int
}

// InitOptions are what a new deployment is made of.
type InitOptions struct {
	Dir          string // missing or empty
	Anchor       string // on another filesystem
	Custody      Custody
	Name         string   // of the key holder, and of its authority
	Organisation string   // of its operators
	Operators    []string // the first ones
	Hosts        []string // DNS names and addresses of the server
	Software     string
	Clock        func() time.Time
	Rand         io.Reader
}

// Handout is what must be handed out of new custody, and exists nowhere else.
type Handout struct {
	Identity   []byte   // the identity file's content; empty where custody is another
	Shares     []string // one for each keeper
	Deployment string   // what shares carry
}

// Initialised is what must be handed out after Init, and exists nowhere else.
type Initialised struct {
	Handout
	Codes map[string]string // enrolment codes of the operators
}

// Init makes a deployment: custody, store, anchor, authority, the server's
// certificate, and codes for the first operators. The folder gets root.json
// last: without it nothing was made.
func Init(ctx context.Context, o InitOptions) (made *Initialised, err error) {
	const doing = "making a key holder"
	if entries, err := os.ReadDir(o.Dir); err == nil && len(entries) > 0 {
		return nil, fault.New(fault.Usage, doing, "the folder "+o.Dir+" is not empty", "give one that is missing or empty")
	}
	if info, err := os.Stat(filepath.Dir(o.Anchor)); err != nil || !info.IsDir() {
		return nil, fault.New(fault.Usage, doing, "the folder of the anchor "+o.Anchor+" does not exist", "make it, on another disk than "+o.Dir)
	}
	if _, err := os.Lstat(o.Anchor); !errors.Is(err, os.ErrNotExist) {
		return nil, fault.New(fault.Usage, doing, "there is something at "+o.Anchor+" already, another key holder's anchor, perhaps",
			"choose another path for the anchor; to bring a key holder back: keyholder restore")
	}
	deployment, err := o.Custody.make(custody.Origin{Now: o.Clock(), Software: o.Software, Rand: o.Rand})
	if err != nil {
		return nil, err
	}
	defer deployment.Root.Destroy()
	defer deployment.Handout.Destroy()
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, "choose a folder that can be made")
	}
	defer func() {
		if err != nil { // what was made is of no use, and in the way of the next try
			err = errors.Join(err, removeContents(o.Dir), removeIfThere(o.Anchor))
		}
	}()
	options := &Options{
		Dir: o.Dir, Anchor: o.Anchor, Name: o.Name, Software: o.Software, OperatorsRequired: min(2, len(o.Operators)), Clock: o.Clock, Rand: o.Rand,
	}
	s, err := store.Create(ctx, storeOptions(options, deployment.Document, deployment.Root))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	ca, err := authority.New(o.Name, o.Clock(), o.Rand)
	if err != nil {
		return nil, err
	}
	if err := keepAuthority(ctx, s, ca); err != nil {
		return nil, err
	}
	if err := writeServer(ca, o.Dir, o.Hosts, o.Clock()); err != nil {
		return nil, err
	}
	ring, err := keyring.Open(&vault{options: options, document: deployment.Document, store: s}, keyringOptions(options, ca))
	if err != nil {
		return nil, err
	}
	codes, err := ring.Bootstrap(ctx, o.Organisation, o.Operators)
	if err != nil {
		return nil, err
	}
	if err := custody.Write(o.Dir, deployment.Document); err != nil {
		return nil, err
	}
	return &Initialised{Handout: handoutOf(deployment), Codes: codes}, nil
}

// removeContents removes what lies in a folder.
func removeContents(folder string) error {
	entries, err := os.ReadDir(folder)
	for _, entry := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(folder, entry.Name())))
	}
	return err
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func handoutOf(d custody.Deployment) Handout {
	return Handout{Identity: d.Handout.Identity(), Shares: d.Handout.Shares(), Deployment: d.Document.Deployment()}
}

func (c *Custody) make(origin custody.Origin) (custody.Deployment, error) {
	switch custody.Method(c.Method) {
	case custody.MethodIdentity:
		return custody.NewWithIdentity(origin)
	case custody.MethodPassphrase:
		return custody.NewWithPassphrase(origin, c.Passphrase, custody.DefaultArgon2())
	case custody.MethodShares:
		return custody.NewWithShares(origin, c.Threshold, c.Shares)
	}
	return custody.Deployment{}, fault.New(fault.Usage, "making new custody", "there is no such method of custody", "give identity, passphrase or shares")
}

// keepAuthority puts the authority into the sealed store.
func keepAuthority(ctx context.Context, s *store.Store, ca *authority.Authority) error {
	key, err := ca.MarshalKey()
	if err != nil {
		return err
	}
	defer clear(key)
	return s.Commit(ctx, []store.Change{
		{Key: store.Key{Kind: kindAuthority, Name: authorityCertificate}, Value: ca.CertificatePEM()},
		{Key: store.Key{Kind: kindAuthority, Name: authorityKey}, Value: key},
	})
}

// writeServer makes the server's key and certificate.
func writeServer(ca *authority.Authority, dir string, hosts []string, now time.Time) error {
	const doing = "making the server's certificate"
	if len(hosts) == 0 {
		return fault.New(fault.Usage, doing, "no host is named", "give the DNS names or addresses under which clients call it: --host")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fault.New(fault.Internal, doing, "its key could not be made", "")
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return fault.New(fault.Internal, doing, "its request could not be made", "")
	}
	var names []string
	var addresses []net.IP
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			addresses = append(addresses, ip)
		} else {
			names = append(names, host)
		}
	}
	issued, err := ca.SignServer(csr, names, addresses, serverLifetime, now)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fault.New(fault.Internal, doing, "its key could not be written", "")
	}
	defer clear(private)
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	defer clear(keyPEM)
	chain := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issued.DER}), ca.CertificatePEM()...)
	for _, file := range []struct {
		name    string
		content []byte
	}{{ServerKeyFile, keyPEM}, {ServerCertFile, chain}, {AuthorityFile, ca.CertificatePEM()}} {
		if err := keys.WriteFile(filepath.Join(dir, file.name), file.content); err != nil {
			return fault.Wrap(fault.Internal, doing, err, "")
		}
	}
	return nil
}

// nextRoot draws the root key of the generation after the highest that there
// was.
func nextRoot(document custody.Document, highest uint64, r io.Reader) (secret.Key, custody.Document, error) {
	root, err := secret.Generate(r)
	if err != nil {
		return root, document, err
	}
	document.Generation = max(document.Generation, highest)
	next, err := document.Rotate(root)
	return root, next, err
}

// Checked is what fsck found.
type Checked struct {
	Records    uint64
	Sequence   uint64
	Generation uint64
	Tombstones []string
	Kinds      map[string]int
}

// opened is a deployment that is opened without being served.
type opened struct {
	vault *vault
	ring  *keyring.Keyring
}

// openFolder opens a deployment that no service has open: every record is read,
// counted and held to the anchor and to the others.
func openFolder(ctx context.Context, o *Options, collect Collect) (*opened, error) {
	document, err := custody.Read(o.Dir)
	if err != nil {
		return nil, err
	}
	identity, err := unsealed(document, collect)
	if err != nil {
		return nil, err
	}
	defer identity.Forget()
	root, err := document.Open(identity)
	if err != nil {
		return nil, err
	}
	defer root.Destroy()
	s, err := store.Open(ctx, storeOptions(o, document, root))
	if err != nil {
		return nil, err
	}
	v := &vault{options: o, document: document, store: s, failed: func() {}}
	ca, err := v.loadAuthority()
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	o.OperatorsRequired = max(o.OperatorsRequired, 2)
	ring, err := keyring.Open(v, keyringOptions(o, ca))
	if err != nil {
		return nil, errors.Join(fault.Wrap(fault.Internal, "reading the store", err, "restore the newest backup: docs/operations.md"), s.Close())
	}
	return &opened{v, ring}, nil
}

// Check opens a deployment's store as a start would, without serving, and says
// what is in it.
func Check(ctx context.Context, o Options, collect Collect) (*Checked, error) {
	d, err := openFolder(ctx, &o, collect)
	if err != nil {
		return nil, err
	}
	state := d.vault.store.State()
	checked := &Checked{Records: state.Count, Sequence: state.Sequence, Generation: state.Generation, Tombstones: state.Tombstones, Kinds: map[string]int{}}
	err = d.vault.Each(func(key store.Key, _ []byte) error { checked.Kinds[key.Kind]++; return nil })
	return checked, errors.Join(err, d.vault.Close())
}

// Recover gives every operator of a deployment that is not being served a new
// enrolment code, by name: for when no two operators have a certificate that is
// good. It takes what unseals, and is recorded.
func Recover(ctx context.Context, o Options, collect Collect) (codes map[string]string, err error) {
	d, err := openFolder(ctx, &o, collect)
	if err != nil {
		return nil, err
	}
	codes, err = d.ring.Recover(ctx)
	return codes, errors.Join(err, d.vault.Close())
}

// RenewServer makes a new key and certificate for the server of a deployment,
// for these hosts. No service may have it open.
func RenewServer(ctx context.Context, o Options, hosts []string, collect Collect) error {
	d, err := openFolder(ctx, &o, collect)
	if err != nil {
		return err
	}
	ca, err := d.vault.loadAuthority()
	if err == nil {
		err = writeServer(ca, o.Dir, hosts, o.Clock())
	}
	return errors.Join(err, d.vault.Close())
}

// ReplaceCustody gives a deployment that is not being served new custody, by any
// method: for a share that was lost, or a keeper who left. It takes what
// unseals. Every record goes into a new store under a new root key, which is
// sealed to a new identity, and root.json is replaced in one step, after handOut
// has kept what must be handed out: whatever ends it, either what unsealed
// before or what was handed out opens the deployment. What unsealed before opens
// copies and backups from before, and nothing that is written from now on.
//
// Nothing was changed if the error says so. The keys of domains and projects stay.
func ReplaceCustody(ctx context.Context, o Options, to Custody, collect Collect, handOut func(Handout) error) (deployment string, err error) {
	const doing = "replacing the custody"
	d, err := openFolder(ctx, &o, collect)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, d.vault.Close()) }()
	made, err := to.make(custody.Origin{Now: o.Clock(), Software: o.Software, Rand: o.Rand, Replaces: &d.vault.document})
	if err != nil {
		return "", err
	}
	defer made.Root.Destroy()
	defer made.Handout.Destroy()
	d.vault.succeed = func() (successor, error) {
		return successor{root: made.Root, document: made.Document, handOut: func() error {
			out := handoutOf(made)
			defer clear(out.Identity)
			return handOut(out)
		}}, nil
	}
	err = d.ring.CustodyReplaced(ctx, to.Method)
	if err == nil {
		return made.Document.Deployment(), nil
	}
	kind := fault.Internal
	var known *fault.Error
	if errors.As(err, &known) {
		kind = known.Kind
	}
	if now, failed := custody.Read(o.Dir); failed == nil && now.Recipient == made.Document.Recipient {
		return "", fault.Wrap(kind, doing, err, "the new custody counts already: keep what was handed out, and run keyholder fsck with it")
	}
	return "", fault.Wrap(kind, doing, err, "nothing was changed: what unsealed before unseals; what was handed out is of no use")
}
