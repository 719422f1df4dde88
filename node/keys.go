package node

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/atomicfile"
)

// keys are the keys of the installation. The operator's seed is the only one
// that is stored: the system and control accounts are derived from it, so that
// every process that holds the seed meets the others in the same accounts.
type keys struct {
	operator       nkeys.KeyPair
	operatorID     string
	system         nkeys.KeyPair
	systemID       string
	control        nkeys.KeyPair
	controlID      string
	controlSigning nkeys.KeyPair
	seed           []byte
}

func loadKeys(cfg Config) (*keys, error) {
	path := operatorKeyPath(cfg.DataDir)
	if cfg.External != nil {
		path = cfg.External.OperatorSeedFile
	}
	seed, err := atomicfile.ReadSecret(path)
	if errors.Is(err, fs.ErrNotExist) && cfg.Cluster != nil {
		return nil, &mnq.Error{
			Kind: mnq.Invalid, Op: "node.New", Field: "cluster-name", Resource: path,
			Msg: "the keys of the cluster are missing in the data-dir: run mnq cluster init for the first node and mnq cluster join for the others",
		}
	}
	if errors.Is(err, fs.ErrNotExist) && cfg.External == nil {
		if _, e := os.Stat(filepath.Join(cfg.DataDir, "nats")); e == nil {
			return nil, &mnq.Error{
				Kind: mnq.Invalid, Op: "node.New", Resource: path,
				Msg:  "the operator key is missing although there is data: restore it from a backup",
				Hint: "a new key could not open the existing accounts",
			}
		}
		seed, err = newOperatorSeed(path)
	}
	var k *keys
	if err == nil {
		k, err = deriveKeys([]byte(strings.TrimSpace(string(seed))))
	}
	if err != nil {
		return nil, keyError(cfg, path, err)
	}
	return k, checkSystemCreds(cfg)
}

// keyError says which setting, or which file of the data directory, is no good.
func keyError(cfg Config, path string, err error) error {
	if e, ok := errors.AsType[*mnq.Error](err); ok {
		return e
	}
	e := &mnq.Error{Kind: mnq.Invalid, Op: "node.New", Resource: path, Msg: "the operator key cannot be used: " + err.Error(), Err: err}
	if cfg.External != nil {
		e.Field, e.Msg = "nats-operator-seed-file", err.Error()
	}
	return e
}

// checkSystemCreds reads the credentials once, since the nats client would only
// say at some later time that it could not.
func checkSystemCreds(cfg Config) error {
	if cfg.External == nil {
		return nil
	}
	path := cfg.External.SystemCredsFile
	text, err := atomicfile.ReadSecret(path)
	if err == nil {
		_, err = jwt.ParseDecoratedJWT(text)
	}
	if err == nil {
		_, err = jwt.ParseDecoratedUserNKey(text)
	}
	if err != nil {
		return &mnq.Error{
			Kind: mnq.Invalid, Op: "node.New", Field: "nats-system-creds-file", Resource: path,
			Msg: fmt.Sprintf("%s is no .creds file that can be used: %v", path, err), Err: err,
		}
	}
	return nil
}

func newOperatorSeed(path string) ([]byte, error) {
	kp, err := nkeys.CreateOperator()
	if err != nil {
		return nil, err
	}
	seed, err := kp.Seed()
	if err != nil {
		return nil, err
	}
	return seed, atomicfile.Write(path, append(seed, '\n'))
}

func operatorKeyPath(dataDir string) string { return filepath.Join(dataDir, "keys", "operator.nk") }

// PrepareKey returns the operator seed of a data directory, and makes it if there is
// none.
func PrepareKey(dataDir string) (seed string, err error) {
	path := operatorKeyPath(dataDir)
	raw, err := atomicfile.ReadSecret(path)
	if errors.Is(err, fs.ErrNotExist) {
		raw, err = newOperatorSeed(path)
	}
	if err != nil {
		return "", keyError(Config{}, path, err)
	}
	return strings.TrimSpace(string(raw)), nil
}

// StoreKey writes the operator seed into the data directory of another process of the
// same installation. Where there is another one already it is kind Conflict.
func StoreKey(dataDir, seed string) error {
	path := operatorKeyPath(dataDir)
	if _, err := deriveKeys([]byte(seed)); err != nil {
		return &mnq.Error{Kind: mnq.Invalid, Op: "node.StoreKey", Msg: "the operator key cannot be used: " + err.Error()}
	}
	have, err := atomicfile.ReadSecret(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return atomicfile.Write(path, []byte(seed+"\n"))
	case err != nil:
		return keyError(Config{}, path, err)
	case strings.TrimSpace(string(have)) != seed:
		return &mnq.Error{
			Kind: mnq.Conflict, Op: "node.StoreKey", Field: "data-dir", Resource: path,
			Msg: path + " is of another installation: use an empty data-dir",
		}
	}
	return nil
}

func deriveKeys(seed []byte) (*keys, error) {
	k := &keys{seed: seed}
	var err error
	if k.operator, err = nkeys.FromSeed(seed); err != nil {
		return nil, errors.New("it holds no seed") // err could quote it
	}
	if k.operatorID, err = k.operator.PublicKey(); err != nil {
		return nil, err
	}
	if !nkeys.IsValidPublicOperatorKey(k.operatorID) {
		return nil, errors.New("it holds no operator seed (SO…)")
	}
	for _, d := range []struct {
		purpose string
		kp      *nkeys.KeyPair
		id      *string
	}{
		{"system account", &k.system, &k.systemID},
		{"control account", &k.control, &k.controlID},
		{"control account signing key", &k.controlSigning, new(string)},
	} {
		raw, err := k.derive(d.purpose)
		if err != nil {
			return nil, err
		}
		if *d.kp, err = nkeys.FromRawSeed(nkeys.PrefixByteAccount, raw); err != nil {
			return nil, err
		}
		if *d.id, err = (*d.kp).PublicKey(); err != nil {
			return nil, err
		}
	}
	return k, nil
}

func (k *keys) derive(purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, k.seed, []byte("openmnq"), purpose, 32)
}

func (k *keys) controlAccount() Account {
	signing, err := k.controlSigning.PublicKey()
	if err != nil { // a key pair made from a seed always has one
		return Account{}
	}
	return Account{ID: k.controlID, Name: "mnq-control", SigningKey: signing, Limits: Unlimited()}
}
