package gatekeeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
)

// errParameters says that parameters do not fit the schema of their template.
var errParameters = errors.New("the parameters do not fit the template's schema")

// parameterSchema is what a template says of the parameters of its constraints. The nil schema takes anything.
type parameterSchema struct {
	structural *structural.Structural
	validator  *validate.SchemaValidator
}

// newParameterSchema reads spec.crd.spec.validation.openAPIV3Schema. A legacy schema says nothing about fields that it
// does not name, and need not be structural: everything else is kept, as the API server does for such templates.
func newParameterSchema(raw json.RawMessage, legacy bool) (*parameterSchema, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var external apiextensionsv1.JSONSchemaProps
	if err := json.Unmarshal(raw, &external); err != nil {
		return nil, fmt.Errorf("reading openAPIV3Schema: %w", err)
	}
	if legacy {
		preserveUnknown(&external)
	}
	var internal apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(&external, &internal, nil); err != nil {
		return nil, fmt.Errorf("reading openAPIV3Schema: %w", err)
	}
	schema, err := structural.NewStructural(&internal)
	if err != nil {
		return nil, fmt.Errorf("openAPIV3Schema is not structural (https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema): %w", err)
	}
	return &parameterSchema{
		structural: schema,
		validator:  validate.NewSchemaValidator(schema.ToKubeOpenAPI(), nil, "spec.parameters", strfmt.Default),
	}, nil
}

// preserveUnknown keeps at every level what the schema does not name.
func preserveUnknown(schema *apiextensionsv1.JSONSchemaProps) {
	yes := true
	switch schema.Type {
	case "", "object":
		schema.XPreserveUnknownFields = &yes
	case "array":
		if schema.Items == nil || schema.Items.Schema == nil {
			schema.Items = &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &apiextensionsv1.JSONSchemaProps{XPreserveUnknownFields: &yes}}
		}
	}
	for name, property := range schema.Properties {
		preserveUnknown(&property)
		schema.Properties[name] = property
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		preserveUnknown(schema.Items.Schema)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		preserveUnknown(schema.AdditionalProperties.Schema)
	}
}

// apply gives the parameters as the API server would store them: without fields that the schema does not know, with
// defaults. What does not fit is errParameters.
func (s *parameterSchema) apply(parameters map[string]any) (map[string]any, error) {
	if parameters == nil {
		parameters = map[string]any{}
	}
	if s == nil {
		return parameters, nil
	}
	parameters = runtime.DeepCopyJSON(parameters)
	pruning.Prune(parameters, s.structural, false)
	setDefaults(parameters, s.structural)
	result := s.validator.Validate(parameters)
	if result.IsValid() {
		return parameters, nil
	}
	problems := slices.Clone(result.Errors)
	slices.SortFunc(problems, func(a, b error) int {
		switch {
		case a.Error() < b.Error():
			return -1
		case a.Error() > b.Error():
			return 1
		}
		return 0
	})
	return nil, fmt.Errorf("%w: %w", errParameters, errors.Join(problems...))
}

// setDefaults fills in the defaults of fields that are absent, and of null ones that must not be null.
func setDefaults(value any, schema *structural.Structural) {
	if schema == nil {
		return
	}
	switch value := value.(type) {
	case map[string]any:
		for name, property := range schema.Properties {
			present, ok := value[name]
			if (!ok || present == nil && !property.Nullable) && property.Default.Object != nil {
				value[name] = runtime.DeepCopyJSONValue(property.Default.Object)
			}
		}
		for name, member := range value {
			if property, ok := schema.Properties[name]; ok {
				setDefaults(member, &property)
			} else if schema.AdditionalProperties != nil {
				setDefaults(member, schema.AdditionalProperties.Structural)
			}
		}
	case []any:
		for _, item := range value {
			setDefaults(item, schema.Items)
		}
	}
}
