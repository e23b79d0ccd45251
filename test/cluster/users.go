package cluster

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Admin is the user every cluster has: a member of system:masters, whom RBAC cannot refuse.
const Admin = "admin"

// User is somebody who may log in. What they may do is up to the RBAC objects a
// test creates, except for the groups that Kubernetes itself knows.
type User struct {
	Name   string
	Groups []string
}

// user is a User with what they log in with.
type user struct {
	User
	token      string
	kubeconfig string
}

// newUsers makes tokens for users, the API server's file of them, and a kubeconfig for each.
func newUsers(dir, server, caFile string, users []User) (map[string]user, string, error) {
	byName := map[string]user{}
	var lines strings.Builder
	for _, u := range users {
		if _, twice := byName[u.Name]; twice {
			return nil, "", fmt.Errorf("making users: there are two named %q", u.Name)
		}
		login := user{User: u, token: rand.Text(), kubeconfig: filepath.Join(dir, u.Name+".kubeconfig")}
		fmt.Fprintf(&lines, "%s,%s,uid-of-%s,%q\n", login.token, u.Name, u.Name, strings.Join(u.Groups, ","))
		config := clientcmdapi.NewConfig()
		config.Clusters["test"] = &clientcmdapi.Cluster{Server: server, CertificateAuthority: caFile}
		config.AuthInfos[u.Name] = &clientcmdapi.AuthInfo{Token: login.token}
		config.Contexts[u.Name] = &clientcmdapi.Context{Cluster: "test", AuthInfo: u.Name}
		config.CurrentContext = u.Name
		if err := clientcmd.WriteToFile(*config, login.kubeconfig); err != nil {
			return nil, "", fmt.Errorf("making users: %w", err)
		}
		byName[u.Name] = login
	}
	tokens := filepath.Join(dir, "tokens.csv")
	if err := os.WriteFile(tokens, []byte(lines.String()), 0o600); err != nil {
		return nil, "", fmt.Errorf("making users: %w", err)
	}
	return byName, tokens, nil
}

// Kubeconfig returns the kubeconfig file of a user.
func (c *Cluster) Kubeconfig(name string) (string, error) {
	login, known := c.users[name]
	if !known {
		return "", fmt.Errorf("finding the kubeconfig of %q: no such user; name them in Options.Users", name)
	}
	return login.kubeconfig, nil
}

// Config returns how a user reaches the API server. Clients made from it are not
// throttled: a test that waits for a client's own rate limit measures that limit.
func (c *Cluster) Config(name string) (*rest.Config, error) {
	kubeconfig, err := c.Kubeconfig(name)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig of %s: %w", name, err)
	}
	config.QPS = -1
	config.UserAgent = "portcullis-test"
	// Policies warn of much that tests do on purpose. Who wants to see it sets a handler.
	config.WarningHandler = rest.NoWarnings{}
	return config, nil
}

// Client returns a client that acts as a user.
func (c *Cluster) Client(name string) (*kubernetes.Clientset, error) {
	config, err := c.Config(name)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for %s: %w", name, err)
	}
	return client, nil
}
