/**
 * FileDescriptorProtos of the services here, for reflection: clients such as grpcurl learn from them what they may send.
 * Source of the numbers: `google/protobuf/descriptor.proto`.
 */
import { bytesTag, varintTag } from './wire-format';
import { WireWriter } from './wire-writer';

const TYPES = { double: 1, float: 2, int64: 3, uint64: 4, int32: 5, bool: 8, string: 9, message: 11, bytes: 12, uint32: 13, enum: 14 } as const;

/** `name number type`; the type may be preceded by `repeated`, and is a scalar, a full message name with a leading dot or `enum .<name>`. */
export interface MessageTable {
  readonly name: string;
  readonly fields: readonly (readonly [name: string, number: number, type: string])[];
  /** Names of fields of which one may be set, under the name that they have together. */
  readonly oneof?: readonly [name: string, fields: readonly string[]];
  readonly messages?: readonly MessageTable[];
  readonly enums?: readonly { readonly name: string; readonly values: readonly string[] }[];
  readonly mapEntry?: boolean;
}

export interface MethodTable {
  readonly name: string;
  readonly input: string;
  readonly output: string;
  readonly clientStreams?: boolean;
  readonly serverStreams?: boolean;
}

export interface FileTable {
  readonly file: string;
  readonly package: string;
  readonly service: string;
  readonly methods: readonly MethodTable[];
  readonly messages: readonly MessageTable[];
}

const LABEL_OPTIONAL = 1;
const LABEL_REPEATED = 3;
const File = { NAME: bytesTag(1), PACKAGE: bytesTag(2), MESSAGES: bytesTag(4), SERVICES: bytesTag(6), SYNTAX: bytesTag(12) } as const;
const Message = {
  NAME: bytesTag(1), FIELDS: bytesTag(2), NESTED: bytesTag(3), ENUMS: bytesTag(4), OPTIONS: bytesTag(7), ONEOFS: bytesTag(8),
} as const;
const MAP_ENTRY = varintTag(7);
const Field = {
  NAME: bytesTag(1),
  NUMBER: varintTag(3),
  LABEL: varintTag(4),
  TYPE: varintTag(5),
  TYPE_NAME: bytesTag(6),
  ONEOF_INDEX: varintTag(9),
  JSON_NAME: bytesTag(10),
} as const;
const Method = { NAME: bytesTag(1), INPUT: bytesTag(2), OUTPUT: bytesTag(3), CLIENT_STREAMS: varintTag(5), SERVER_STREAMS: varintTag(6) } as const;
const NAME = bytesTag(1);
const VALUES = bytesTag(2);
const NUMBER = varintTag(2);

const writer = new WireWriter();

/** The FileDescriptorProto of a table. */
export function encodeFile({ file, package: name, service, methods, messages }: FileTable): Buffer {
  writer.reset();
  writer.string(File.NAME, file);
  writer.string(File.PACKAGE, name);
  for (const message of messages) writeMessage(File.MESSAGES, message);
  const open = writer.open(File.SERVICES);
  writer.string(NAME, service);
  for (const method of methods) writeMethod(name, method);
  writer.close(open);
  writer.string(File.SYNTAX, 'proto3');
  return writer.message();
}

/** Full names of everything that a file defines: services, methods, messages and enums. */
export function symbolsOf({ package: name, service, methods, messages }: FileTable): string[] {
  const symbols = [`${name}.${service}`, ...methods.map((method) => `${name}.${service}.${method.name}`)];
  const walk = (scope: string, tables: readonly MessageTable[]): void => {
    for (const table of tables) {
      const full = `${scope}.${table.name}`;
      symbols.push(full, ...(table.enums ?? []).map((type) => `${full}.${type.name}`));
      walk(full, table.messages ?? []);
    }
  };
  walk(name, messages);
  return symbols;
}

/** The entry message of a map field, as protobuf names it. */
export function mapEntry(field: string, valueType: string): MessageTable {
  const name = `${field.replace(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase())}Entry`;
  return { name, fields: [['key', 1, 'string'], ['value', 2, valueType]], mapEntry: true };
}

function writeMessage(tag: number, table: MessageTable): void {
  const open = writer.open(tag);
  writer.string(Message.NAME, table.name);
  for (const field of table.fields) writeField(field, table.oneof?.[1].includes(field[0]) ?? false);
  for (const nested of table.messages ?? []) writeMessage(Message.NESTED, nested);
  for (const { name, values } of table.enums ?? []) {
    const type = writer.open(Message.ENUMS);
    writer.string(NAME, name);
    values.forEach((value, number) => {
      const entry = writer.open(VALUES);
      writer.string(NAME, value);
      writer.uint32(NUMBER, number);
      writer.close(entry);
    });
    writer.close(type);
  }
  if (table.mapEntry === true) {
    const options = writer.open(Message.OPTIONS);
    writer.bool(MAP_ENTRY, true);
    writer.close(options);
  }
  if (table.oneof !== undefined) {
    const oneof = writer.open(Message.ONEOFS);
    writer.string(NAME, table.oneof[0]);
    writer.close(oneof);
  }
  writer.close(open);
}

function writeField([name, number, declared]: MessageTable['fields'][number], inOneof: boolean): void {
  const repeated = declared.startsWith('repeated ');
  const type = repeated ? declared.slice('repeated '.length) : declared;
  const kind = type.startsWith('.') ? 'message' : type.split(' ')[0];
  const open = writer.open(Message.FIELDS);
  writer.string(Field.NAME, name);
  writer.uint32(Field.NUMBER, number);
  writer.uint32(Field.LABEL, repeated ? LABEL_REPEATED : LABEL_OPTIONAL);
  writer.uint32(Field.TYPE, TYPES[kind as keyof typeof TYPES]);
  if (kind === 'message' || kind === 'enum') writer.string(Field.TYPE_NAME, type.slice(type.indexOf('.')));
  if (inOneof) writer.uint32(Field.ONEOF_INDEX, 0);
  writer.string(Field.JSON_NAME, name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase()));
  writer.close(open);
}

function writeMethod(scope: string, { name, input, output, clientStreams, serverStreams }: MethodTable): void {
  const open = writer.open(VALUES);
  writer.string(Method.NAME, name);
  writer.string(Method.INPUT, `.${scope}.${input}`);
  writer.string(Method.OUTPUT, `.${scope}.${output}`);
  if (clientStreams === true) writer.bool(Method.CLIENT_STREAMS, true);
  if (serverStreams === true) writer.bool(Method.SERVER_STREAMS, true);
  writer.close(open);
}
