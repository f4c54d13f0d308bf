import type { SageMakerVariantProps } from './sagemaker-variant';

/** {@link SageMakerVariantProps} with what is decided. */
export interface DecidedVariant extends Required<SageMakerVariantProps> {
  readonly name: string;
}
