package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

type user struct {
	name, token string
	groups      []string
}

// writeUsers makes one user for each who writes, so that the audit log tells them apart. `backout`
// is the service account of the shipped manifests: it may do only what a test's RBAC lets it do.
func writeUsers(dir string) (map[string]user, error) {
	users := map[string]user{
		"admin":   {name: "admin", groups: []string{"system:masters"}},
		"kcm":     {name: "system:kube-controller-manager", groups: []string{"system:masters"}},
		"kubelet": {name: "testplane:kubelet", groups: []string{"system:masters"}},
		"backout": {
			name:   "system:serviceaccount:backout:backout",
			groups: []string{"system:serviceaccounts", "system:serviceaccounts:backout", "system:authenticated"},
		},
	}
	var tokens strings.Builder
	for key, user := range users {
		user.token = randomToken()
		users[key] = user
		fmt.Fprintf(&tokens, "%s,%s,%s,%q\n", user.token, user.name, key, strings.Join(user.groups, ","))
	}
	return users, os.WriteFile(filepath.Join(dir, "tokens.csv"), []byte(tokens.String()), 0o600)
}

// The audit log is the tests' witness: every write with its body, except what the control plane and
// the fake kubelet do themselves.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ["system:kube-controller-manager", "testplane:kubelet", "system:apiserver"]
- level: Request
  verbs: [create, update, patch, delete, deletecollection]
- level: None
`

func writeServerFiles(dir string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"audit-policy.yaml": []byte(auditPolicy),
		"sa.key":            pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
		"sa.pub":            pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func writeKubeconfig(path, server string, ca []byte, user user) error {
	config := api.NewConfig()
	config.Clusters["testplane"] = &api.Cluster{Server: server, CertificateAuthorityData: ca}
	config.AuthInfos["user"] = &api.AuthInfo{Token: user.token}
	config.Contexts["testplane"] = &api.Context{Cluster: "testplane", AuthInfo: "user"}
	config.CurrentContext = "testplane"
	return clientcmd.WriteToFile(*config, path)
}
