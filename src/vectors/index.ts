export * from './similarity';
export * from './vector-engine';
export * from './vector-field';
export * from './vector-index';
export * from './vector-index-build';
export * from './vector-quantization';
export * from './vector-store';
export * from './vector-store-options';
