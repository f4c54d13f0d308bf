/** The messages of GRPCInferenceService about server and model, both ways: small, and apart from ModelReady seldom sent. */
import { bytesTag, varintTag } from './wire-format';
import { malformed, WireReader } from './wire-reader';
import { WireWriter } from './wire-writer';
import { OIP_DATATYPES, type OipDatatype, type TensorSchema } from '../../src/contract';
import type { ModelMetadata } from '../core/oip';

const NAME = bytesTag(1);
const VERSION = bytesTag(2);
const EXTENSIONS = bytesTag(3);
const FLAG = varintTag(1);
const Metadata = { NAME: bytesTag(1), VERSIONS: bytesTag(2), PLATFORM: bytesTag(3), INPUTS: bytesTag(4), OUTPUTS: bytesTag(5) } as const;
const Tensor = { NAME: bytesTag(1), DATATYPE: bytesTag(2), SHAPE: bytesTag(3), SHAPE_UNPACKED: varintTag(3) } as const;

const DATATYPES: ReadonlySet<string> = new Set(OIP_DATATYPES);

const writer = new WireWriter();

export interface ModelName {
  readonly name: string;
  /** Undefined: whichever the service chooses. */
  readonly version: string | undefined;
}

export interface ServerMetadata {
  readonly name: string;
  readonly version: string;
  readonly extensions: readonly string[];
}

/** ServerLiveRequest, ServerReadyRequest and ServerMetadataRequest have no fields; unknown ones must be well formed all the same. */
export function decodeEmpty(message: Uint8Array): void {
  const reader = new WireReader(message);
  while (reader.more) reader.skip(reader.tag());
}

export function encodeEmpty(): readonly Uint8Array[] {
  writer.reset();
  return writer.frame();
}

/** ServerLiveResponse, ServerReadyResponse and ModelReadyResponse: one flag, of which protobuf writes only true. */
export function encodeFlag(value: boolean): readonly Uint8Array[] {
  writer.reset();
  if (value) writer.bool(FLAG, true);
  return writer.frame();
}

export function decodeFlag(message: Uint8Array): boolean {
  const reader = new WireReader(message);
  let value = false;
  while (reader.more) {
    const tag = reader.tag();
    if (tag === FLAG) value = reader.bool();
    else reader.skip(tag);
  }
  return value;
}

/** ModelReadyRequest and ModelMetadataRequest. */
export function decodeModelName(message: Uint8Array): ModelName {
  const reader = new WireReader(message);
  let name = '';
  let version: string | undefined;
  while (reader.more) {
    const tag = reader.tag();
    if (tag === NAME) name = reader.string();
    else if (tag === VERSION) version = reader.string() || undefined;
    else reader.skip(tag);
  }
  return { name, version };
}

export function encodeModelName({ name, version }: ModelName): readonly Uint8Array[] {
  writer.reset();
  writer.string(NAME, name);
  if (version) writer.string(VERSION, version);
  return writer.frame();
}

export function encodeServerMetadata({ name, version, extensions }: ServerMetadata): readonly Uint8Array[] {
  writer.reset();
  writer.string(NAME, name);
  writer.string(VERSION, version);
  for (const extension of extensions) writer.string(EXTENSIONS, extension);
  return writer.frame();
}

export function decodeServerMetadata(message: Uint8Array): ServerMetadata {
  const reader = new WireReader(message);
  let name = '';
  let version = '';
  const extensions: string[] = [];
  while (reader.more) {
    const tag = reader.tag();
    if (tag === NAME) name = reader.string();
    else if (tag === VERSION) version = reader.string();
    else if (tag === EXTENSIONS) extensions.push(reader.string());
    else reader.skip(tag);
  }
  return { name, version, extensions };
}

export function encodeModelMetadata({ name, versions, platform, inputs, outputs }: ModelMetadata): readonly Uint8Array[] {
  writer.reset();
  writer.string(Metadata.NAME, name);
  for (const version of versions) writer.string(Metadata.VERSIONS, version);
  writer.string(Metadata.PLATFORM, platform);
  for (const input of inputs) writeSchema(Metadata.INPUTS, input);
  for (const output of outputs) writeSchema(Metadata.OUTPUTS, output);
  return writer.frame();
}

export function decodeModelMetadata(message: Uint8Array): ModelMetadata {
  const reader = new WireReader(message);
  let name = '';
  let platform = '';
  const versions: string[] = [];
  const inputs: TensorSchema[] = [];
  const outputs: TensorSchema[] = [];
  while (reader.more) {
    const tag = reader.tag();
    switch (tag) {
      case Metadata.NAME:
        name = reader.string();
        break;
      case Metadata.VERSIONS:
        versions.push(reader.string());
        break;
      case Metadata.PLATFORM:
        platform = reader.string();
        break;
      case Metadata.INPUTS:
        inputs.push(readSchema(reader));
        break;
      case Metadata.OUTPUTS:
        outputs.push(readSchema(reader));
        break;
      default:
        reader.skip(tag);
    }
  }
  return { name, versions, platform, inputs, outputs };
}

function writeSchema(tag: number, { name, datatype, shape }: TensorSchema): void {
  const schema = writer.open(tag);
  writer.string(Tensor.NAME, name);
  writer.string(Tensor.DATATYPE, datatype);
  writer.packedInt64(Tensor.SHAPE, shape);
  writer.close(schema);
}

function readSchema(reader: WireReader): TensorSchema {
  let name = '';
  let datatype = '';
  const shape: number[] = [];
  const outer = reader.enter();
  while (reader.more) {
    const tag = reader.tag();
    if (tag === Tensor.NAME) {
      name = reader.string();
    } else if (tag === Tensor.DATATYPE) {
      datatype = reader.string();
    } else if (tag === Tensor.SHAPE) {
      const packed = reader.enter();
      while (reader.more) shape.push(reader.int64());
      reader.leave(packed);
    } else if (tag === Tensor.SHAPE_UNPACKED) {
      shape.push(reader.int64());
    } else {
      reader.skip(tag);
    }
  }
  reader.leave(outer);
  if (!DATATYPES.has(datatype)) malformed(`tensor '${name}' has datatype '${datatype.slice(0, 64)}'`);
  return { name, datatype: datatype as OipDatatype, shape };
}
