import Ajv from 'ajv';
import { Size, Token } from 'aws-cdk-lib';
import { BRAIN_CONFIGURATION_SCHEMA, BRAIN_CONFIGURATION_VERSION, DEFAULT_LIMITS } from '../../src/contract';
import { Model } from '../../src/registry';

describe('Model', () => {
  test('declares a name and an owner, and no version', () => {
    expect(Model.declare('price', { owner: 'pricing' })._toDeclaration()).toEqual({ name: 'price', owner: 'pricing' });
  });

  test('stands in a valid brain.json', () => {
    const valid = new Ajv({ allowUnionTypes: true }).compile(BRAIN_CONFIGURATION_SCHEMA);
    const model = Model.declare('price', { owner: 'pricing', description: 'Predicts the price of a flat' });
    expect(valid({
      schemaVersion: BRAIN_CONFIGURATION_VERSION,
      name: 'brain',
      environment: 'dev',
      limits: DEFAULT_LIMITS,
      models: [model._toDeclaration()],
      featureGroups: [],
      vectorIndexes: [],
    })).toBe(true);
    expect(model.name).toBe('price');
  });

  test('fails when its name is no name', () => {
    expect(() => Model.declare('Price Model', { owner: 'pricing' })).toThrow(/InvalidName: a model name must match .*got 'Price Model': use lower case/);
    expect(() => Model.declare(Token.asString({ Ref: 'Name' }), { owner: 'pricing' })).toThrow(/be known at synth/);
  });

  test('its GPU memory is for synth alone, and no part of what the brain declares', () => {
    const model = Model.declare('price', { owner: 'pricing', gpuMemory: Size.gibibytes(4) });
    expect(model.gpuMemory).toEqual(Size.gibibytes(4));
    expect(model._toDeclaration()).toEqual({ name: 'price', owner: 'pricing' });
    expect(() => Model.declare('price', { owner: 'pricing', gpuMemory: Size.mebibytes(0) })).toThrow(/ModelGpuMemory: gpuMemory of model 'price' must be at least 1 MiB, got 0/);
  });

  test('fails when nobody owns it, or only a token does', () => {
    expect(() => Model.declare('price', { owner: ' ' })).toThrow(/InvalidText: the owner of model 'price' must be 1 to 1024 characters and not blank, got ' '/);
    expect(() => Model.declare('price', { owner: Token.asString({ Ref: 'Owner' }) })).toThrow(/UnknownText/);
  });
});
