{{- define "detector.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* At most 50 characters: a StatefulSet puts a number and a hash behind it, in labels of 63. */}}
{{- define "detector.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "detector.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "detector.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "detector.selector" -}}
app.kubernetes.io/name: {{ include "detector.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "detector.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "detector.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: edge-anomaly
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "detector.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "detector.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "detector.sinks" -}}
{{- $sinks := .Values.detection.sinks }}
{{- if .Values.deviceStatus.enabled }}{{ $sinks = append $sinks "devicestatus" }}{{ end }}
{{- if .Values.metrics.enabled }}{{ $sinks = append $sinks "metrics" }}{{ end }}
{{- if .Values.api.enabled }}{{ $sinks = append $sinks "api" }}{{ end }}
{{- $sinks | uniq | toJson }}
{{- end }}

{{/* Whether mappers send to it: "true", or nothing. */}}
{{- define "detector.endpoints" -}}
{{- if or .Values.grpc.enabled .Values.http.enabled }}true{{ end }}
{{- end }}

{{/* The sources, as a list in JSON. */}}
{{- define "detector.sources" -}}
{{- $sources := list }}
{{- with .Values.kubernetes }}{{ if .enabled }}
{{- $sources = append $sources (dict "type" "kubernetes" "options" (dict "namespaces" .namespaces "desired" .desired "offline" .offline)) }}
{{- end }}{{ end }}
{{- concat $sources .Values.sources | toJson }}
{{- end }}

{{/* The configuration file. */}}
{{- define "detector.config" -}}
listen: {{ if .Values.grpc.enabled }}0.0.0.0:{{ .Values.grpc.port }}{{ else }}""{{ end }}
{{- if .Values.http.enabled }}
http:
  listen: 0.0.0.0:{{ .Values.http.port }}
{{- end }}
{{- with include "detector.sources" . | fromJsonArray }}
sources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if not (include "detector.endpoints" .) }}
{{- else if .Values.insecure }}
insecure: true
{{- else }}
tls:
  ca: /etc/external-anomaly-detector/tls/ca.crt
  cert: /etc/external-anomaly-detector/tls/tls.crt
  key: /etc/external-anomaly-detector/tls/tls.key
{{- with .Values.clients }}
clients:
{{- range . }}
- name: {{ .name | quote }}
  {{- with .certificates }}
  certificates: {{ toJson . }}
  {{- end }}
  {{- with .tokenKey }}
  token: {{ printf "/etc/external-anomaly-detector/tokens/%s" . | quote }}
  {{- end }}
  namespaces: {{ toJson .namespaces }}
  {{- with .limits }}
  limits: {{ toJson . }}
  {{- end }}
{{- end }}
{{- end }}
{{- with .Values.anonymous }}
anonymous: {{ toJson . }}
{{- end }}
{{- with .Values.callbacks }}
callbacks:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with .Values.limits }}
limits:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.clientLimits }}
clientLimits:
  {{- toYaml . | nindent 2 }}
{{- end }}
anomalyDetection:
  stateDir: /var/lib/edge-anomaly/state
  modelDir: /var/lib/edge-anomaly/models
  sinks: {{ include "detector.sinks" . }}
  {{- $options := deepCopy .Values.detection.sinkOptions }}
  {{- if .Values.metrics.enabled }}
  {{- $options = mergeOverwrite $options (dict "metrics" (merge (dict "address" (printf "0.0.0.0:%v" .Values.metrics.port)) (dig "metrics" dict $options))) }}
  {{- end }}
  {{- if .Values.api.enabled }}
  {{- $api := dict "address" (printf "127.0.0.1:%v" .Values.api.port) }}
  {{- if .Values.api.tokenSecretName }}
  {{- $api = dict "address" (printf "0.0.0.0:%v" .Values.api.port) "tokenFile" "/etc/external-anomaly-detector/api/token" }}
  {{- end }}
  {{- $options = mergeOverwrite $options (dict "api" (merge $api (dig "api" dict $options))) }}
  {{- end }}
  {{- with $options }}
  sinkOptions:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.detection.defaults }}
  defaults:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.detection.routes }}
  routes:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
