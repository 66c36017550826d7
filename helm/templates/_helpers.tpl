{{- define "freshet.name" -}}
{{- .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "freshet.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "freshet.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}{{ default (include "freshet.fullname" .) .Values.serviceAccount.name }}
{{- else -}}{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{/* Labels of one role: dict "root" $ "role" name */}}
{{- define "freshet.selector" -}}
app.kubernetes.io/name: {{ include "freshet.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{- define "freshet.labels" -}}
{{ include "freshet.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{/* Values come as floats, TOML tells 500.0 from 500: whole numbers become integers again, in place. */}}
{{- define "freshet.integers" -}}
{{- range $key, $value := . -}}
{{- if kindIs "map" $value -}}{{ include "freshet.integers" $value }}
{{- else if and (kindIs "float64" $value) (eq (floor $value) $value) -}}{{ $_ := set $ $key (int64 $value) }}
{{- end -}}
{{- end -}}
{{- end -}}
