package tenant

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/google/uuid"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/atomicfile"
)

// Secrets are what the processes of an installation share from its first start on.
type Secrets struct {
	MasterKey string `json:"master_key"` // base64
	AdminEnv  string `json:"admin_env"`  // text of the file
}

// PrepareSecrets makes the secrets of a new installation in a data directory, or
// returns those that are there. A master key that is given is used and not stored.
func PrepareSecrets(dataDir, masterKey, region string) (Secrets, error) {
	sealer, err := loadSealer(masterKey, dataDir)
	if err != nil {
		return Secrets{}, err
	}
	if sealer == nil {
		if sealer, err = createMasterKey(dataDir); err != nil {
			return Secrets{}, err
		}
	}
	s := Secrets{MasterKey: sealer.text()}
	text, ok, err := readAdminEnv(dataDir)
	if err != nil {
		return Secrets{}, err
	}
	if !ok {
		env := adminEnv{
			AccessKey: newAPIAccessKey(), SecretKey: uuid.NewString(),
			ProjectID: uuid.NewString(), OrganizationID: uuid.NewString(), Region: region,
		}
		text = env.String()
		if err := writeAdminEnv(dataDir, text); err != nil {
			return Secrets{}, err
		}
	}
	s.AdminEnv = text
	return s, nil
}

// Store writes the secrets into the data directory of another process. Where there are
// other ones already it is kind Conflict, and nothing is changed.
func (s Secrets) Store(dataDir string) error {
	if _, err := parseMasterKey(s.MasterKey, "token"); err != nil {
		return err
	}
	files := map[string]string{masterKeyPath(dataDir): strings.TrimSpace(s.MasterKey) + "\n", adminEnvPath(dataDir): s.AdminEnv}
	for path, text := range files {
		have, err := atomicfile.ReadSecret(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case path == adminEnvPath(dataDir): // its owner may have changed it
			delete(files, path)
		case !bytes.Equal(bytes.TrimSpace(have), []byte(strings.TrimSpace(text))):
			return &mnq.Error{
				Kind: mnq.Conflict, Op: "tenant.Store", Field: "data-dir", Resource: path,
				Msg: path + " is of another installation: use an empty data-dir",
			}
		}
	}
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return err
	}
	for path, text := range files {
		if err := atomicfile.Write(path, []byte(text)); err != nil {
			return err
		}
	}
	return nil
}
