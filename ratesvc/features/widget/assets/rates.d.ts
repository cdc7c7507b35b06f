// Types of <cbr-rates> for TypeScript: in HTML, React and Vue. MIT licence.
// Save this file among your sources, for instance as src/rates.d.ts.

/** The attributes; every value may also be given as text. */
export interface CbrRatesAttributes {
  /** Currencies in this order, such as "USD,EUR". */
  codes?: string;
  /** One currency, for layout="inline". */
  code?: string;
  layout?: "table" | "line" | "bar" | "inline" | "converter";
  /** Of name, today, next, change and percent, such as "name,next". */
  columns?: string;
  /** A day, such as "2024-03-02"; without it today. */
  date?: string;
  decimals?: 2 | 4 | "2" | "4";
  unit?: CbrSwitch;
  symbols?: CbrSwitch;
  head?: CbrSwitch;
  pending?: CbrSwitch;
  converter?: CbrSwitch;
  key_rate?: CbrSwitch;
  /** Your own words, "full", "short" or "none". */
  heading?: string;
  /** Your own page about rates; {code} in it becomes the row's currency. */
  href?: string;
  /** A BCP 47 tag; without it the language of the page. */
  lang?: string;
  /** Days of the trend line. */
  spark?: 0 | 7 | 30 | "0" | "7" | "30";
  /** Or the colour of a ground of your own, such as "#0b5cad". */
  theme?: "inherit" | "light" | "dark" | "auto" | `#${string}`;
  updown?: "green-red" | "red-green" | "blue-orange" | "none";
  /** Pixels, with an inner scrollbar. */
  height?: number | string;
  /** Minutes, 5 to 1440. */
  refresh?: number | string;
}

export type CbrSwitch = 0 | 1 | "0" | "1";

declare global {
  interface HTMLElementTagNameMap {
    "cbr-rates": HTMLElement;
  }
  interface HTMLElementEventMap {
    "cbr-load": CustomEvent<undefined>;
    "cbr-error": CustomEvent<unknown>;
  }
}

// @ts-ignore -- only where React is installed
declare module "react" {
  namespace JSX {
    interface IntrinsicElements {
      // @ts-ignore -- the same
      "cbr-rates": DetailedHTMLProps<HTMLAttributes<HTMLElement>, HTMLElement> & CbrRatesAttributes;
    }
  }
}

// @ts-ignore -- only where Vue is installed
declare module "vue" {
  interface GlobalComponents {
    "cbr-rates": new () => { $props: CbrRatesAttributes };
  }
}
