import { CONFIGURATION, MANIFEST, SURGE } from './brain.fixture';
import { parseConfiguration } from '../../../runtime/core/configuration';
import { checkManifest, manifestProblems, parseManifest } from '../../../runtime/core/manifest';
import { publicInputs } from '../../../runtime/core/signature';
import type { BrainConfiguration, ModelManifest } from '../../../src/contract';

type Draft = { -readonly [K in keyof ModelManifest]: any };

const problems = (change: (draft: Draft) => void): string[] => {
  const draft = structuredClone(MANIFEST) as Draft;
  change(draft);
  return manifestProblems(parseManifest(JSON.stringify(draft)), CONFIGURATION);
};

describe('a model manifest', () => {
  test('that fits the brain has no problem', () => {
    expect(manifestProblems(MANIFEST, CONFIGURATION)).toEqual([]);
    expect(manifestProblems(SURGE, CONFIGURATION)).toEqual([]);
    expect(() => checkManifest(MANIFEST, CONFIGURATION)).not.toThrow();
  });

  test('shows entity ids, query vectors and pass-through tensors, and nothing that enrichment fills', () => {
    expect(publicInputs(MANIFEST, CONFIGURATION)).toEqual([
      { name: 'distance', datatype: 'FP32', shape: [-1, 1] },
      { name: 'driver', datatype: 'INT64', shape: [-1] },
      { name: 'route', datatype: 'FP32', shape: [-1, 2] },
    ]);
  });

  test('whose model takes the query vector itself shows it once', () => {
    const manifest = { ...MANIFEST, inputs: [...MANIFEST.inputs, { name: 'route', datatype: 'FP32' as const, shape: [-1, 2] }] };
    expect(manifestProblems(manifest, CONFIGURATION)).toEqual([]);
    expect(publicInputs(manifest, CONFIGURATION).map(({ name }) => name)).toEqual(['distance', 'route', 'driver']);
  });

  test('shows the inputs of filters as one value per row, each once', () => {
    const [near] = MANIFEST.enrichment!.vectors!;
    const filter = [{ field: 'city', input: 'city' }, { field: 'rush', input: 'rush' }, { field: 'minutes', input: 'minutes' }, { field: 'rush', values: [true] }];
    const manifest: ModelManifest = { ...MANIFEST, enrichment: { ...MANIFEST.enrichment, vectors: [{ ...near, filter, fill: 0, onUnavailable: 'fill', flag: 'near' }] } };
    expect(manifestProblems(manifest, CONFIGURATION)).toEqual([]);
    expect(publicInputs(manifest, CONFIGURATION).slice(2)).toEqual([
      { name: 'route', datatype: 'FP32', shape: [-1, 2] },
      { name: 'city', datatype: 'BYTES', shape: [-1] },
      { name: 'rush', datatype: 'BOOL', shape: [-1] },
      { name: 'minutes', datatype: 'FP32', shape: [-1] },
    ]);
  });

  test('shows the text of a search by words as one text per row, after its vector', () => {
    const [near] = MANIFEST.enrichment!.vectors!;
    const [trips] = CONFIGURATION.vectorIndexes;
    const configuration = { ...CONFIGURATION, vectorIndexes: [{ ...trips, fields: [...trips.fields, { name: 'notes', type: 'text' as const }] }] };
    const withText = (text: string, more: object = {}): ModelManifest => (
      { ...MANIFEST, enrichment: { ...MANIFEST.enrichment, vectors: [{ ...near, text, ...more }] } }
    );
    expect(manifestProblems(withText('words'), configuration)).toEqual([]);
    expect(publicInputs(withText('words', { filter: [{ field: 'city', input: 'city' }] }), configuration).slice(2)).toEqual([
      { name: 'route', datatype: 'FP32', shape: [-1, 2] }, { name: 'words', datatype: 'BYTES', shape: [-1] }, { name: 'city', datatype: 'BYTES', shape: [-1] },
    ]);
    const told = (manifest: ModelManifest, of: BrainConfiguration = configuration) => manifestProblems(manifest, of).join();
    expect(told(withText('words'), CONFIGURATION)).toMatch(/the text of vector tensor 'neighbours': vector index 'trips' has no text field/);
    expect(told(withText('driver'))).toMatch(/input 'driver' must be BYTES \[-1\], but it is INT64 \[-1\]/);
    expect(told(withText('neighbours'))).toMatch(/input 'neighbours' is a tensor that enrichment fills/);
    expect(told(withText('words', { filter: [{ field: 'notes', values: ['wet'] }] }))).toMatch(/on field 'notes': a text is searched, not compared; store it as a keyword as well/);
    expect(told(withText('words', { fields: ['notes', '_score', 'rush'] }))).toMatch(/field 'notes' of vector index 'trips' is a text, which tensor 'neighbours' cannot hold/);
  });

  test('may filter by what is an entity or an input of the model as well', () => {
    const [near] = MANIFEST.enrichment!.vectors!;
    const configuration = { ...CONFIGURATION, vectorIndexes: [{ ...CONFIGURATION.vectorIndexes[0], fields: [...CONFIGURATION.vectorIndexes[0].fields, { name: 'driver', type: 'long' as const }] }] };
    const manifest: ModelManifest = {
      ...MANIFEST,
      inputs: [...MANIFEST.inputs, { name: 'limit', datatype: 'FP64', shape: [-1] }],
      enrichment: { ...MANIFEST.enrichment, vectors: [{ ...near, filter: [{ field: 'driver', input: 'driver' }, { field: 'minutes', input: 'limit' }, { field: 'driver', values: [7, '9007199254740993'] }] }] },
    };
    expect(manifestProblems(manifest, configuration)).toEqual([]);
    expect(publicInputs(manifest, configuration).map(({ name }) => name)).toEqual(['distance', 'limit', 'driver', 'route']);
    const wrong = (value: number | string) => ({ ...manifest, enrichment: { ...MANIFEST.enrichment, vectors: [{ ...near, filter: [{ field: 'driver', values: [value] }] }] } });
    for (const value of [1.5, 2 ** 53, '1.5', '9223372036854775808', '01']) expect(manifestProblems(wrong(value), configuration).join()).toMatch(/is no long/);
    for (const value of ['9223372036854775807', '-9223372036854775808', 0]) expect(manifestProblems(wrong(value), configuration)).toEqual([]);
  });

  test.each<[string, (draft: Draft) => void, RegExp]>([
    ['a model that is not declared', (m) => { m.name = 'other'; }, /declares no model 'other'/],
    ['an unknown feature group', (m) => { m.enrichment.features[0].groups[1].group = 'bikes'; }, /no feature group 'bikes'/],
    ['an unknown feature', (m) => { m.enrichment.features[0].groups[1].features = ['wheels']; }, /'cars' has no feature 'wheels'/],
    ['an unknown index', (m) => { m.enrichment.vectors[0].index = 'roads'; }, /no vector index 'roads'/],
    ['an unknown field', (m) => { m.enrichment.vectors[0].fields[0] = 'hours'; }, /'trips' has no field 'hours'/],
    ['a keyword field', (m) => { m.enrichment.vectors[0].fields[0] = 'city'; }, /'city' of vector index 'trips' is a keyword/],
    ['a feature tensor that is no input', (m) => { m.enrichment.features[0].tensor = 'nowhere'; }, /'nowhere' is no input/],
    ['a vector tensor that is no input', (m) => { m.enrichment.vectors[0].tensor = 'nowhere'; }, /'nowhere' is no input/],
    ['a width that is not the number of features', (m) => { m.inputs[1].shape = [-1, 4]; }, /must be \[-1, 3\], got \[-1, 4\]/],
    ['a fixed batch', (m) => { m.inputs[1].shape = [1, 3]; }, /must be \[-1, 3\], got \[1, 3\]/],
    ['a k that is not the shape\'s', (m) => { m.enrichment.vectors[0].k = 3; }, /must be \[-1, 3, 3\], got \[-1, 2, 3\]/],
    ['a string feature in a numeric tensor', (m) => { m.enrichment.features[0].groups[0].features[0] = 'badge'; }, /'badge' of group 'drivers' is string, which FP32/],
    ['a fraction in an integer tensor', (m) => { m.inputs[1].datatype = 'INT64'; }, /'rating' of group 'drivers' is float32, which INT64/],
    ['a datatype that features do not fill', (m) => { m.inputs[1].datatype = 'FP16'; }, /features fill FP32/],
    ['neighbours in an integer tensor', (m) => { m.inputs[2].datatype = 'INT32'; }, /must be FP32 or FP64, got INT32/],
    ['a key that is no entity input', (m) => { m.enrichment.features[0].keys = ['car']; }, /key 'car' of tensor 'driver_features' is no entity input/],
    ['too many keys', (m) => { m.enrichment.features[0].keys = ['driver', 'driver']; }, /has 1 entity keys, tensor 'driver_features' gives 2/],
    ['a key of another datatype', (m) => { m.enrichment.entities[0].datatype = 'BYTES'; }, /must be INT64, got BYTES/],
    ['an entity input that nothing uses', (m) => { m.enrichment.entities.push({ input: 'car', datatype: 'BYTES' }); }, /'car' is used by no feature tensor/],
    ['an entity input that enrichment fills', (m) => { m.enrichment.entities.push({ input: 'neighbours', datatype: 'BYTES' }); }, /'neighbours' is a tensor that enrichment fills/],
    ['an entity input unlike the model\'s input of that name', (m) => { m.enrichment.entities.push({ input: 'distance', datatype: 'BYTES' }); }, /'distance' is BYTES \[-1\], but/],
    ['a query vector unlike the model\'s input of that name', (m) => { m.enrichment.vectors[0].input = 'distance'; }, /'distance' is FP32 \[-1, 2\], but/],
    ['a query vector that is an entity', (m) => { m.enrichment.vectors[0].input = 'driver'; }, /'driver' is an entity input as well/],
    ['a filter on an unknown field', (m) => { m.enrichment.vectors[0].filter = [{ field: 'colour', values: ['red'] }]; }, /on field 'colour': vector index 'trips' has no such field/],
    ['a filter of nothing', (m) => { m.enrichment.vectors[0].filter = [{ field: 'city' }]; }, /on field 'city' must have either values or an input/],
    ['a filter of values and an input', (m) => { m.enrichment.vectors[0].filter = [{ field: 'city', values: ['Wien'], input: 'city' }]; }, /must have either values or an input/],
    ['a filter on another type', (m) => { m.enrichment.vectors[0].filter = [{ field: 'city', values: ['Wien', 1] }]; }, /on field 'city': 1 is no keyword/],
    ['a filter on a float that float32 cannot hold', (m) => { m.enrichment.vectors[0].filter = [{ field: 'minutes', values: [1e39] }]; }, /1e\+39 is no float/],
    ['a filter on text for a boolean', (m) => { m.enrichment.vectors[0].filter = [{ field: 'rush', values: ['true'] }]; }, /"true" is no boolean/],
    ['a filter input that enrichment fills', (m) => { m.enrichment.vectors[0].filter = [{ field: 'city', input: 'neighbours' }]; }, /input 'neighbours' is a tensor that enrichment fills/],
    ['a filter input that is an entity of another datatype', (m) => { m.enrichment.vectors[0].filter = [{ field: 'city', input: 'driver' }]; }, /'driver' must be BYTES \[-1\] to give values of keyword, but it is INT64 \[-1\]/],
    ['a filter input that is the query vector', (m) => { m.enrichment.vectors[0].filter = [{ field: 'minutes', input: 'route' }]; }, /'route' must be FP32 or FP64 \[-1\] to give values of float, but it is FP32 \[-1, 2\]/],
    ['a filter input of two fields of different types', (m) => { m.enrichment.vectors[0].filter = [{ field: 'city', input: 'x' }, { field: 'rush', input: 'x' }]; }, /on field 'rush': input 'x' must be BOOL \[-1\]/],
    ['a fallback without a fill', (m) => { m.enrichment.vectors[0].onUnavailable = 'fill'; }, /'neighbours' is to be filled where the store is away, and declares no fill/],
    ['a flag without a fill', (m) => { m.enrichment.vectors[0].flag = 'near'; }, /'neighbours' hangs on flag 'near', and declares no fill/],
    ['an input twice', (m) => { m.inputs.push(m.inputs[0]); }, /input 'distance' stands twice/],
    ['an output twice', (m) => { m.outputs.push(m.outputs[0]); }, /output 'minutes' stands twice/],
    ['a file twice', (m) => { m.files.push(m.files[0]); }, /file 'model.onnx' stands twice/],
    ['a tensor filled twice', (m) => { m.enrichment.vectors[0].tensor = 'driver_features'; }, /enriched tensor 'driver_features' stands twice/],
    ['a feature twice', (m) => { m.enrichment.features[0].groups[0].features = ['rating', 'rating']; }, /feature 'rating' of group 'drivers' stands twice/],
    ['a group twice', (m) => { m.enrichment.features[0].groups[1] = m.enrichment.features[0].groups[0]; }, /group 'drivers' stands twice/],
    ['a dimension of 0', (m) => { m.outputs[0].shape = [0]; }, /dimension of 0/],
    ['a warm-up request of other inputs', (m) => { m.warmUp = [{ inputs: [{ name: 'distance', datatype: 'FP32', shape: [1, 1], data: [1] }] }]; }, /warm-up request 0: its inputs are neither/],
    ['a warm-up request of another shape', (m) => { m.enrichment = undefined; m.inputs = [m.inputs[0]]; m.warmUp = [{ inputs: [{ name: 'distance', datatype: 'FP32', shape: [1, 2], data: [1, 2] }] }]; }, /warm-up request 0: 'distance' is FP32 \[1, 2\]/],
    ['a warm-up request whose data does not fit', (m) => { m.enrichment = undefined; m.inputs = [m.inputs[0]]; m.warmUp = [{ inputs: [{ name: 'distance', datatype: 'FP32', shape: [1, 1], data: ['x'] }] }]; }, /warm-up request 0: element 0/],
  ])('is refused with %s', (_, change, message) => {
    expect(problems(change).join('\n')).toMatch(message);
  });

  test('names every problem at once', () => {
    const wrong = { ...MANIFEST, name: 'other', inputs: [...MANIFEST.inputs, MANIFEST.inputs[0]] };
    expect(() => checkManifest(wrong, CONFIGURATION)).toThrow(/no model 'other'; input 'distance' stands twice/);
  });

  test.each([
    ['not JSON', '{'], ['not an object', '[]'], ['of another version', JSON.stringify({ ...MANIFEST, schemaVersion: '2' })], ['with a field of ours misspelt', JSON.stringify({ ...MANIFEST, enrichments: {} })],
    ['with a path out of its folder', JSON.stringify({ ...MANIFEST, files: [{ ...MANIFEST.files[0], path: '../x' }] })],
  ])('is refused where it is %s', (_, text) => {
    expect(() => parseManifest(text)).toThrow(expect.objectContaining({ code: 'INVALID_MANIFEST' }));
  });
});

describe('brain.json', () => {
  const broken = (change: (draft: any) => void) => {
    const draft = structuredClone(CONFIGURATION);
    change(draft);
    return () => parseConfiguration(JSON.stringify(draft));
  };

  test('is read as it was rendered', () => {
    expect(parseConfiguration(JSON.stringify(CONFIGURATION))).toEqual(CONFIGURATION);
  });

  test.each<[string, (draft: any) => void, RegExp]>([
    ['a model twice', (c) => c.models.push(c.models[0]), /model 'eta' is declared twice/],
    ['a group twice', (c) => c.featureGroups.push(c.featureGroups[0]), /feature group 'drivers' is declared twice/],
    ['a key and a feature of one name', (c) => { c.featureGroups[0].features[0].name = 'driver'; }, /'driver' is declared twice/],
    ['a reserved column', (c) => { c.featureGroups[0].features[0].name = 'event_time'; }, /reserved name 'event_time'/],
    ['a default of another dtype', (c) => { c.featureGroups[0].features[1].default = 0.5; }, /feature 'trips' is int32/],
    ['an unknown version', (c) => { c.schemaVersion = '9'; }, /schemaVersion.*allowed values \(1\)/],
  ])('is refused with %s', (_, change, message) => {
    expect(broken(change)).toThrow(message);
    expect(broken(change)).toThrow(expect.objectContaining({ code: 'INVALID_CONFIGURATION' }));
  });
});
