declare module 'asl-validator' {
  export default function validator(definition: object, options?: { readonly checkArn?: boolean; readonly checkPaths?: boolean }): {
    readonly isValid: boolean;
    readonly errorsText: (separator?: string) => string;
  };
}
