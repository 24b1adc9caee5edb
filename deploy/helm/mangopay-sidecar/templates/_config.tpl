{{/* The values of the sidecar, as the chart that uses this one has them. */}}
{{- define "mangopay-sidecar.values" -}}
{{- index .Values "mangopay-sidecar" | toYaml -}}
{{- end -}}

{{/* The name of the ConfigMap. It changes with its content, so that a change rolls the pods. */}}
{{- define "mangopay-sidecar.configMapName" -}}
{{- $sidecar := include "mangopay-sidecar.values" . | fromYaml -}}
mangopay-sidecar-{{ $sidecar.config | toJson | sha256sum | trunc 10 }}
{{- end -}}

{{/* A ConfigMap with the configuration, once for each release: {{ include "mangopay-sidecar.configMap" . }} */}}
{{- define "mangopay-sidecar.configMap" -}}
{{- $sidecar := include "mangopay-sidecar.values" . | fromYaml -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "mangopay-sidecar.configMapName" . }}
  labels:
    app.kubernetes.io/name: mangopay-sidecar
    app.kubernetes.io/instance: {{ .Release.Name }}
data:
  SIDECAR_MANGOPAY_CLIENT_ID: {{ required "mangopay-sidecar.config.SIDECAR_MANGOPAY_CLIENT_ID is missing: set your ClientId" $sidecar.config.SIDECAR_MANGOPAY_CLIENT_ID | quote }}
  {{- range $name, $value := omit $sidecar.config "SIDECAR_MANGOPAY_CLIENT_ID" }}
  {{ $name }}: {{ $value | quote }}
  {{- end }}
{{- end -}}
