/** What the services here are made of, as tables for `descriptors.ts`. A test holds them against protobuf's own reading. */
import { type FileTable, mapEntry, type MessageTable, type MethodTable } from './descriptors';

const method = (name: string): MethodTable => ({ name, input: `${name}Request`, output: `${name}Response` });

const PARAMETER = '.inference.InferParameter';

/** InferInputTensor and InferOutputTensor. */
function tensor(name: string, message: string): MessageTable {
  return {
    name,
    fields: [
      ['name', 1, 'string'],
      ['datatype', 2, 'string'],
      ['shape', 3, 'repeated int64'],
      ['parameters', 4, `repeated .inference.${message}.${name}.ParametersEntry`],
      ['contents', 5, '.inference.InferTensorContents'],
    ],
    messages: [mapEntry('parameters', PARAMETER)],
  };
}

export const INFERENCE_FILE: FileTable = {
  file: 'inference.proto',
  package: 'inference',
  service: 'GRPCInferenceService',
  methods: [
    ...['ServerLive', 'ServerReady', 'ModelReady', 'ServerMetadata', 'ModelMetadata', 'ModelInfer'].map(method),
    { name: 'ModelStreamInfer', input: 'ModelInferRequest', output: 'ModelStreamInferResponse', clientStreams: true, serverStreams: true },
  ],
  messages: [
    { name: 'ServerLiveRequest', fields: [] },
    { name: 'ServerLiveResponse', fields: [['live', 1, 'bool']] },
    { name: 'ServerReadyRequest', fields: [] },
    { name: 'ServerReadyResponse', fields: [['ready', 1, 'bool']] },
    { name: 'ModelReadyRequest', fields: [['name', 1, 'string'], ['version', 2, 'string']] },
    { name: 'ModelReadyResponse', fields: [['ready', 1, 'bool']] },
    { name: 'ServerMetadataRequest', fields: [] },
    { name: 'ServerMetadataResponse', fields: [['name', 1, 'string'], ['version', 2, 'string'], ['extensions', 3, 'repeated string']] },
    { name: 'ModelMetadataRequest', fields: [['name', 1, 'string'], ['version', 2, 'string']] },
    {
      name: 'ModelMetadataResponse',
      fields: [
        ['name', 1, 'string'],
        ['versions', 2, 'repeated string'],
        ['platform', 3, 'string'],
        ['inputs', 4, 'repeated .inference.ModelMetadataResponse.TensorMetadata'],
        ['outputs', 5, 'repeated .inference.ModelMetadataResponse.TensorMetadata'],
      ],
      messages: [{ name: 'TensorMetadata', fields: [['name', 1, 'string'], ['datatype', 2, 'string'], ['shape', 3, 'repeated int64']] }],
    },
    {
      name: 'InferParameter',
      fields: [
        ['bool_param', 1, 'bool'], ['int64_param', 2, 'int64'], ['string_param', 3, 'string'], ['double_param', 4, 'double'], ['uint64_param', 5, 'uint64'],
      ],
      oneof: ['parameter_choice', ['bool_param', 'int64_param', 'string_param', 'double_param', 'uint64_param']],
    },
    {
      name: 'InferTensorContents',
      fields: [
        ['bool_contents', 1, 'repeated bool'],
        ['int_contents', 2, 'repeated int32'],
        ['int64_contents', 3, 'repeated int64'],
        ['uint_contents', 4, 'repeated uint32'],
        ['uint64_contents', 5, 'repeated uint64'],
        ['fp32_contents', 6, 'repeated float'],
        ['fp64_contents', 7, 'repeated double'],
        ['bytes_contents', 8, 'repeated bytes'],
      ],
    },
    {
      name: 'ModelInferRequest',
      fields: [
        ['model_name', 1, 'string'],
        ['model_version', 2, 'string'],
        ['id', 3, 'string'],
        ['parameters', 4, 'repeated .inference.ModelInferRequest.ParametersEntry'],
        ['inputs', 5, 'repeated .inference.ModelInferRequest.InferInputTensor'],
        ['outputs', 6, 'repeated .inference.ModelInferRequest.InferRequestedOutputTensor'],
        ['raw_input_contents', 7, 'repeated bytes'],
      ],
      messages: [
        tensor('InferInputTensor', 'ModelInferRequest'),
        {
          name: 'InferRequestedOutputTensor',
          fields: [['name', 1, 'string'], ['parameters', 2, 'repeated .inference.ModelInferRequest.InferRequestedOutputTensor.ParametersEntry']],
          messages: [mapEntry('parameters', PARAMETER)],
        },
        mapEntry('parameters', PARAMETER),
      ],
    },
    {
      name: 'ModelInferResponse',
      fields: [
        ['model_name', 1, 'string'],
        ['model_version', 2, 'string'],
        ['id', 3, 'string'],
        ['parameters', 4, 'repeated .inference.ModelInferResponse.ParametersEntry'],
        ['outputs', 5, 'repeated .inference.ModelInferResponse.InferOutputTensor'],
        ['raw_output_contents', 6, 'repeated bytes'],
      ],
      messages: [tensor('InferOutputTensor', 'ModelInferResponse'), mapEntry('parameters', PARAMETER)],
    },
    { name: 'ModelStreamInferResponse', fields: [['error_message', 1, 'string'], ['infer_response', 2, '.inference.ModelInferResponse']] },
  ],
};

export const HEALTH_FILE: FileTable = {
  file: 'health.proto',
  package: 'grpc.health.v1',
  service: 'Health',
  methods: [
    { name: 'Check', input: 'HealthCheckRequest', output: 'HealthCheckResponse' },
    { name: 'Watch', input: 'HealthCheckRequest', output: 'HealthCheckResponse', serverStreams: true },
  ],
  messages: [
    { name: 'HealthCheckRequest', fields: [['service', 1, 'string']] },
    {
      name: 'HealthCheckResponse',
      fields: [['status', 1, 'enum .grpc.health.v1.HealthCheckResponse.ServingStatus']],
      enums: [{ name: 'ServingStatus', values: ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'] }],
    },
  ],
};

/** Both versions of reflection have the same messages. */
export function reflectionFile(version: 'v1' | 'v1alpha'): FileTable {
  const name = `grpc.reflection.${version}`;
  return {
    file: `reflection-${version}.proto`,
    package: name,
    service: 'ServerReflection',
    methods: [{ name: 'ServerReflectionInfo', input: 'ServerReflectionRequest', output: 'ServerReflectionResponse', clientStreams: true, serverStreams: true }],
    messages: [
      {
        name: 'ServerReflectionRequest',
        fields: [
          ['host', 1, 'string'],
          ['file_by_filename', 3, 'string'],
          ['file_containing_symbol', 4, 'string'],
          ['file_containing_extension', 5, `.${name}.ExtensionRequest`],
          ['all_extension_numbers_of_type', 6, 'string'],
          ['list_services', 7, 'string'],
        ],
        oneof: [
          'message_request',
          ['file_by_filename', 'file_containing_symbol', 'file_containing_extension', 'all_extension_numbers_of_type', 'list_services'],
        ],
      },
      { name: 'ExtensionRequest', fields: [['containing_type', 1, 'string'], ['extension_number', 2, 'int32']] },
      {
        name: 'ServerReflectionResponse',
        fields: [
          ['valid_host', 1, 'string'],
          ['original_request', 2, `.${name}.ServerReflectionRequest`],
          ['file_descriptor_response', 4, `.${name}.FileDescriptorResponse`],
          ['all_extension_numbers_response', 5, `.${name}.ExtensionNumberResponse`],
          ['list_services_response', 6, `.${name}.ListServiceResponse`],
          ['error_response', 7, `.${name}.ErrorResponse`],
        ],
        oneof: ['message_response', ['file_descriptor_response', 'all_extension_numbers_response', 'list_services_response', 'error_response']],
      },
      { name: 'FileDescriptorResponse', fields: [['file_descriptor_proto', 1, 'repeated bytes']] },
      { name: 'ExtensionNumberResponse', fields: [['base_type_name', 1, 'string'], ['extension_number', 2, 'repeated int32']] },
      { name: 'ListServiceResponse', fields: [['service', 1, `repeated .${name}.ServiceResponse`]] },
      { name: 'ServiceResponse', fields: [['name', 1, 'string']] },
      { name: 'ErrorResponse', fields: [['error_code', 1, 'int32'], ['error_message', 2, 'string']] },
    ],
  };
}
