package vault

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// Cluster is how identities are had from the cluster.
type Cluster interface {
	// ServiceAccountToken makes a token of a service account for audiences (TokenRequest).
	ServiceAccountToken(ctx context.Context, namespace, name string, audiences []string, ttl time.Duration) (secrets.Value, time.Time, error)
	// SecretKey reads one key of a Secret.
	SecretKey(ctx context.Context, namespace, name, key string) (secrets.Value, error)
}

// CheckAuth says what is wrong with a VaultAuth: not exactly one method, or one without what it needs. The error is of the reason
// Misconfigured. That there is no namespace in it is on purpose: service accounts and Secrets are those of its own.
func CheckAuth(spec *v1alpha1.VaultAuthSpec) error {
	if spec.Connection == "" {
		return misconfigured("spec.connection names no VaultConnection")
	}
	if strings.Trim(spec.Mount, "/") != spec.Mount || strings.HasPrefix(spec.Mount, "auth/") || strings.Contains(spec.Mount, "..") || strings.ContainsAny(spec.Mount, "?#%*+ \\") {
		return misconfigured("spec.mount %q: write the mount of the auth method without auth/ and without slashes at its ends", spec.Mount)
	}
	switch spec.Method() {
	case v1alpha1.MethodKubernetes:
		if spec.Kubernetes.Role == "" || spec.Kubernetes.ServiceAccount == "" {
			return misconfigured("spec.kubernetes: role and serviceAccount are required")
		}
		return checkTTL("spec.kubernetes.tokenTTL", spec.Kubernetes.TokenTTL)
	case v1alpha1.MethodJWT:
		if (spec.JWT.ServiceAccount == "") == (spec.JWT.SecretRef == nil) {
			return misconfigured("spec.jwt: give serviceAccount or secretRef, one of the two")
		}
		return checkTTL("spec.jwt.tokenTTL", spec.JWT.TokenTTL)
	case v1alpha1.MethodAppRole:
		if spec.AppRole.RoleID == "" || spec.AppRole.SecretRef.Name == "" {
			return misconfigured("spec.appRole: roleID and secretRef.name are required")
		}
	case v1alpha1.MethodCert:
		if spec.Cert.SecretName == "" {
			return misconfigured("spec.cert: secretName is required")
		}
	default:
		return misconfigured("give exactly one method: kubernetes, jwt, appRole or cert")
	}
	return nil
}

func checkTTL(field string, ttl *metav1.Duration) error {
	if ttl == nil || ttl.Duration >= 10*time.Minute && ttl.Duration <= time.Hour {
		return nil
	}
	return misconfigured("%s: between 10m, the least that Kubernetes gives, and 1h", field)
}

// shown is the connection as this identity opens it: with its certificate for the method cert.
func (c *Client) shown(ctx context.Context) (*connection, error) {
	if c.auth.Spec.Method() != v1alpha1.MethodCert {
		return c.conn, nil
	}
	name := c.auth.Spec.Cert.SecretName
	certificate, err := c.pool.cluster.SecretKey(ctx, c.namespace, name, "tls.crt")
	if err != nil {
		return nil, err
	}
	defer certificate.Clear()
	key, err := c.pool.cluster.SecretKey(ctx, c.namespace, name, "tls.key")
	if err != nil {
		return nil, err
	}
	defer key.Clear()
	pair, err := tls.X509KeyPair(certificate.Reveal(), key.Reveal())
	if err != nil { // its text may quote what it read
		return nil, misconfigured("Secret %s/%s: tls.crt and tls.key are no pair of certificate and key as PEM", c.namespace, name)
	}
	return c.conn.certified(&pair), nil
}

// login logs in.
func (c *Client) login(ctx context.Context) (made *session, err error) {
	method := c.auth.Spec.Method()
	defer func() { c.pool.metrics.loggedIn(c.conn.name, method, secrets.ReasonOf(err)) }()
	if c.pool.cluster == nil {
		return nil, &secrets.Error{Reason: secrets.ClusterFailed, Doing: "logging in as " + c.Identity(), Message: "there is no cluster to have the identity from"}
	}
	conn, err := c.shown(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil && conn != c.conn {
			conn.transport.CloseIdleConnections()
		}
	}()
	body, who, err := c.credentials(ctx)
	if err != nil {
		return nil, err
	}
	call := secrets.Call{Method: http.MethodPost, Path: "auth/" + c.auth.Spec.Mount + "/login", Body: body}
	read, err := c.pool.send(ctx, conn, nil, call, false)
	clear(body)
	if err != nil {
		return nil, loginFailed(err, c, who)
	}
	if read.Auth == nil || read.Auth.ClientToken == "" {
		return nil, &secrets.Error{Reason: secrets.Malformed, Doing: doingOf(call), Message: "the answer holds no token"}
	}
	token := Token{Value: secrets.ValueOf(read.Auth.ClientToken), Accessor: read.Auth.Accessor, Renewable: read.Auth.Renewable}
	return c.newSession(conn, token, time.Duration(read.Auth.LeaseDuration)*time.Second), nil
}

// credentials are the body of a login, and who it is, for people.
func (c *Client) credentials(ctx context.Context) (map[string]any, string, error) {
	spec := &c.auth.Spec
	switch spec.Method() {
	case v1alpha1.MethodKubernetes:
		k := spec.Kubernetes
		token, _, err := c.pool.cluster.ServiceAccountToken(ctx, c.namespace, k.ServiceAccount, k.Audiences, k.TokenTTL.Duration)
		if err != nil {
			return nil, "", err
		}
		return map[string]any{"role": k.Role, "jwt": string(token.Reveal())},
			fmt.Sprintf("role %q for service account %s/%s with the audiences %s", k.Role, c.namespace, k.ServiceAccount, strings.Join(k.Audiences, ", ")), nil
	case v1alpha1.MethodJWT:
		j := spec.JWT
		token, who, err := c.jwt(ctx, j)
		if err != nil {
			return nil, "", err
		}
		return map[string]any{"role": j.Role, "jwt": string(token.Reveal())}, fmt.Sprintf("role %q for %s", j.Role, who), nil
	case v1alpha1.MethodAppRole:
		r := spec.AppRole
		id, err := c.pool.cluster.SecretKey(ctx, c.namespace, r.SecretRef.Name, r.SecretRef.Key)
		if err != nil {
			return nil, "", err
		}
		return map[string]any{"role_id": r.RoleID, "secret_id": strings.TrimSpace(string(id.Reveal()))}, fmt.Sprintf("role id %q with the secret id in key %s of Secret %s/%s", r.RoleID, r.SecretRef.Key, c.namespace, r.SecretRef.Name), nil
	}
	body := map[string]any{}
	if spec.Cert.Role != "" {
		body["name"] = spec.Cert.Role
	}
	return body, fmt.Sprintf("role %q for the certificate in Secret %s/%s", spec.Cert.Role, c.namespace, spec.Cert.SecretName), nil
}

func (c *Client) jwt(ctx context.Context, j *v1alpha1.JWTAuth) (secrets.Value, string, error) {
	if j.SecretRef != nil {
		token, err := c.pool.cluster.SecretKey(ctx, c.namespace, j.SecretRef.Name, j.SecretRef.Key)
		return token, fmt.Sprintf("the JWT in key %s of Secret %s/%s", j.SecretRef.Key, c.namespace, j.SecretRef.Name), err
	}
	token, _, err := c.pool.cluster.ServiceAccountToken(ctx, c.namespace, j.ServiceAccount, j.Audiences, j.TokenTTL.Duration)
	return token, fmt.Sprintf("service account %s/%s with the audiences %s", c.namespace, j.ServiceAccount, strings.Join(j.Audiences, ", ")), err
}

// loginFailed tells a refused identity from a Vault that cannot answer.
func loginFailed(err error, c *Client, who string) error {
	failed, ok := err.(*secrets.Error)
	if !ok {
		return err
	}
	switch failed.Reason {
	case secrets.Forbidden, secrets.Refused, secrets.NotFound:
		return &secrets.Error{
			Reason: secrets.LoginFailed, Doing: failed.Doing, Status: failed.Status,
			Message: "Vault refuses " + who + ": is the method mounted there, does the role exist, and is it bound to this identity? Vault's log has the reason, which is not shown to whoever is refused",
		}
	}
	return err
}

// secondsOf is a number of seconds as JSON has it.
func secondsOf(value any) time.Duration {
	number, ok := value.(json.Number)
	if !ok {
		return 0
	}
	seconds, err := number.Int64()
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
