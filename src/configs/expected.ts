/** Types that say in words what they expect, where the compiler would print `never`. */

/** The compiler prints this type, with the words in it, where nothing that was written fits. No value has it. */
export interface Expected<What extends string> {
  readonly [expected]: What;
}

declare const expected: unique symbol;

/** Makes a key of an object literal that `Known` doesn't have an error, which an inferred type alone would take. */
export type NoOtherKeys<Written, Known> = Written extends string
  ? unknown
  : {
      readonly [Key in Exclude<keyof Written, keyof Known>]: Expected<`file or variables, and no key ${Key & string}`>;
    };
