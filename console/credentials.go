package console

import (
	"net/url"
	"strings"
	"time"
)

// credential opens the namespace.
type credential struct {
	ID          string       `json:"id"`
	Name        string       `json:"name"`
	Protocol    string       `json:"protocol"`
	Service     string       `json:"service"`
	AccessKey   string       `json:"access_key"`
	Permissions *permissions `json:"permissions"`
	CreatedAt   *time.Time   `json:"created_at"`
	LastUsedAt  *time.Time   `json:"last_used_at"`
}

type permissions struct {
	CanPublish bool `json:"can_publish"`
	CanReceive bool `json:"can_receive"`
	CanManage  bool `json:"can_manage"`
}

// Words are the permissions as people say them.
func (c credential) Words() string {
	if c.Permissions == nil {
		return "everything"
	}
	return strings.Join(c.Permissions.words(), ", ")
}

func (m permissions) words() []string {
	var out []string
	for _, w := range []struct {
		on   bool
		name string
	}{{m.CanPublish, "publish"}, {m.CanReceive, "receive"}, {m.CanManage, "manage"}} {
		if w.on {
			out = append(out, w.name)
		}
	}
	if len(out) == 0 {
		return []string{"nothing"}
	}
	return out
}

// secret is what a new credential shows once.
type secret struct {
	Name, AccessKey, SecretKey string
	Creds                      string // of NATS: the whole file
	Rotated                    *credential
	CLI                        string
}

type credentialList struct {
	paging

	Credentials []credential
	Form        url.Values
	Secret      *secret
	Endpoint    string
	Region      string
}

// Env is the secret as shell assignments.
func (l credentialList) Env() string {
	return "AWS_ACCESS_KEY_ID=" + l.Secret.AccessKey + "\nAWS_SECRET_ACCESS_KEY=" + l.Secret.SecretKey +
		"\nAWS_DEFAULT_REGION=" + l.Region + "\nAWS_ENDPOINT_URL=" + l.Endpoint + "\n"
}

// Profile is the secret for the files of the AWS tools.
func (l credentialList) Profile() string {
	return "# ~/.aws/config\n[profile openmnq]\nregion = " + l.Region + "\nendpoint_url = " + l.Endpoint +
		"\n\n# ~/.aws/credentials\n[openmnq]\naws_access_key_id = " + l.Secret.AccessKey + "\naws_secret_access_key = " + l.Secret.SecretKey + "\n"
}

func (p *page) credentials() error {
	if err := p.inNamespace(); err != nil {
		return err
	}
	return p.showCredentials(nil)
}

func (p *page) showCredentials(s *secret) error {
	out := credentialList{paging: p.paging(), Form: p.r.PostForm, Secret: s, Endpoint: p.c.cfg.PublicURL(), Region: p.c.cfg.Region}
	if out.Form == nil {
		out.Form = url.Values{}
	}
	var list struct {
		Credentials []credential `json:"credentials"`
		TotalCount  int          `json:"total_count"`
	}
	if err := p.get(own("namespaces", p.ns.Account, "credentials"), out.query(), &list); err != nil {
		return err
	}
	out.Credentials, out.Total = list.Credentials, list.TotalCount
	return p.show("credentials", "Credentials", out)
}

// newCredential makes one and returns its secret.
func (p *page) newCredential(name, service string, may *permissions) (*secret, error) {
	s := &secret{Name: name}
	switch {
	case p.ns.Activated:
		var made struct {
			AccessKey string `json:"access_key"`
			SecretKey string `json:"secret_key"`
		}
		in := map[string]any{"project_id": p.ns.ProjectID, "name": name, "permissions": may}
		err := p.post(p.v1beta1(service+"-credentials"), in, &made)
		s.AccessKey, s.SecretKey = made.AccessKey, made.SecretKey
		s.CLI = "scw mnq " + service + " create-credentials project-id=" + p.ns.ProjectID + " name=" + shell(name)
		return s, err
	default:
		var made struct {
			NATS *struct {
				Content string `json:"content"`
			} `json:"nats_credentials"`
			AWS *struct {
				AccessKey string `json:"access_key"`
				SecretKey string `json:"secret_key"`
			} `json:"sqs_sns_credentials"`
		}
		in := map[string]any{"namespace_id": p.ns.ID, "name": name}
		words := []string{"credential", "create", p.ns.ID, "--name", name}
		if !p.ns.NATS() {
			in["permissions"] = may
			words = append(words, "--permissions", strings.Join(may.words(), ","))
		}
		err := p.post(p.v1alpha1("credentials"), in, &made)
		if made.NATS != nil {
			s.Creds = made.NATS.Content
		}
		if made.AWS != nil {
			s.AccessKey, s.SecretKey = made.AWS.AccessKey, made.AWS.SecretKey
		}
		s.CLI = command(words...)
		return s, err
	}
}

func (p *page) createCredential() error {
	if err := p.inNamespace(); err != nil {
		return err
	}
	may := &permissions{p.form("publish") != "", p.form("receive") != "", p.form("manage") != ""}
	service := "sqs"
	if p.form("service") == "sns" {
		service = "sns"
	}
	s, err := p.newCredential(strings.TrimSpace(p.form("name")), service, may)
	if p.refused(err) {
		s, err = nil, nil
	}
	if err != nil {
		return err
	}
	return p.showCredentials(s)
}

// find returns the credential of the path.
func (p *page) findCredential() (credential, error) {
	id := p.r.PathValue("credential")
	for n := 1; ; n++ {
		var list struct {
			Credentials []credential `json:"credentials"`
		}
		if err := p.get(own("namespaces", p.ns.Account, "credentials"), paging{Page: n, Size: 100}.query(), &list); err != nil {
			return credential{}, err
		}
		for _, c := range list.Credentials {
			if c.ID == id {
				return c, nil
			}
		}
		if len(list.Credentials) < 100 {
			return credential{}, &problem{Status: 404, Type: "not_found", Resource: "credential", ResourceID: id}
		}
	}
}

// rotate makes a credential with the same name and rights. The old one goes on working
// until it is revoked, so that programs can move.
func (p *page) rotate() error {
	if err := p.inNamespace(); err != nil {
		return err
	}
	old, err := p.findCredential()
	if err != nil {
		return err
	}
	s, err := p.newCredential(old.Name, old.Service, old.Permissions)
	if p.refused(err) {
		return p.showCredentials(nil)
	}
	if err != nil {
		return err
	}
	s.Rotated = &old
	return p.showCredentials(s)
}

func (p *page) revoke() error {
	if err := p.inNamespace(); err != nil {
		return err
	}
	c, err := p.findCredential()
	if err != nil {
		return err
	}
	path, cli := p.v1alpha1("credentials", c.ID), command("credential", "rm", c.ID)
	if c.Service != "" {
		path, cli = p.v1beta1(c.Service+"-credentials", c.ID), "scw mnq "+c.Service+" delete-credentials "+c.ID
	}
	if err := p.delete(path); err != nil {
		return err
	}
	p.notify("The credential "+c.Name+" is revoked; connections that used it are cut.", cli)
	return p.redirect("ns", p.ns.Account, "credentials")
}
