{{/*
The bundle of the chart: the built-in library, told which namespace is ours, with what the values configure.
*/}}
{{- define "portcullis.bundle" -}}
{{- $b := .Values.bundle -}}
{{- $namespace := .Release.Namespace -}}
{{- $policies := $b.policies -}}
{{- if and .Values.guard.enabled .Values.guard.administrators -}}
{{- /* The API server guards the namespace itself, and asks who may administer; the policy knows groups only, and would refuse administrators. */ -}}
{{- $policies = append $policies (dict "policy" "namespaces/exempt-namespace-guard" "enforcement" "off") -}}
{{- else -}}
{{- $policies = append $policies
  (dict "policy" "namespaces/exempt-namespace-guard" "match" (dict "namespaces" (list $namespace)) "parameters" (dict
    "namespaces" (list $namespace)
    "allowedGroups" (concat (list "system:nodes" "system:serviceaccounts:kube-system" (printf "system:serviceaccounts:%s" $namespace)) .Values.guard.adminGroups)
    "allowedUsers" (concat (list "system:kube-controller-manager" "system:kube-scheduler") .Values.guard.adminUsers))) -}}
{{- end -}}
{{- if ne $namespace "portcullis-system" -}}
{{- $aggregation := dict "exclude" (dict "serviceAccounts" (list "kube-system/clusterrole-aggregation-controller")) -}}
{{- $policies = concat $policies (list
  (dict "policy" "namespaces/deletion-guard" "parameters" (dict "namespaces" (list "default" "kube-system" "kube-public" "kube-node-lease" $namespace)))
  (dict "policy" "rbac/portcullis-rights" "match" $aggregation "parameters" (dict "namespaces" (list $namespace)))) -}}
{{- end -}}
{{- $trust := deepCopy $b.trust -}}
{{- if .Values.imagePolicy.enabled -}}
{{- $ours := list (printf "%s/portcullis*" .Values.images.registry) -}}
{{- $authority := dict "name" "portcullis" "images" $ours -}}
{{- if .Values.imagePolicy.publicKey -}}
{{- $_ := set $authority "keys" (list (dict "name" "portcullis" "pem" .Values.imagePolicy.publicKey)) -}}
{{- else -}}
{{- $_ := set $authority "identities" (list (dict "issuer" .Values.imagePolicy.identity.issuer "subject" .Values.imagePolicy.identity.subject)) -}}
{{- end -}}
{{- $_ := set $trust "authorities" (append (default (list) $trust.authorities) $authority) -}}
{{- $_ := set $trust "requirements" (append (default (list) $trust.requirements) (dict "name" "images of Portcullis" "images" $ours "anyOf" (list "portcullis"))) -}}
{{- $policies = append $policies (dict "policy" "images/signed" "name" "images of Portcullis" "match" (dict "namespaces" (list $namespace))) -}}
{{- end -}}
# The bundle that all components of this release judge by.
apiVersion: policy.portcullis.dev/v1alpha1
kind: Bundle
name: portcullis-chart
serial: {{ int64 $b.serial }}
include: library
defaultProfile: {{ $b.defaultProfile }}
{{- with $trust }}
trust:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $b.response }}
response:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $b.exceptionsFrom }}
exceptionsFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $policies }}
policies:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $b.profiles }}
profiles:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $b.namespaces }}
namespaces:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Pods are replaced when the bundle is another one: a file by subPath never changes. */}}
{{- define "portcullis.bundleChecksum" -}}
{{- if eq .Values.bundle.source "chart" -}}{{ include "portcullis.bundle" . | sha256sum | trunc 16 | quote }}
{{- else -}}{{ toJson .Values.bundle | sha256sum | trunc 16 | quote }}
{{- end -}}
{{- end }}
