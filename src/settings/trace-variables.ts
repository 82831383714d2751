/**
 * The variables by which OpenTelemetry says whether traces are sent, and where. Names and meanings are the standard's, and its SDK reads
 * all others by itself: https://opentelemetry.io/docs/specs/otel/protocol/exporter/ Whoever sets them may have set them for every program
 * of a cluster. So a value that the service can't use is a warning, and never keeps it from starting.
 */
import { z } from 'zod';
import { quote, type Problem } from './problems.ts';
import { text } from './rules.ts';
import type { Variable } from './variable.ts';

/** Settings that say whether traces are sent, and where. */
export interface TraceVariables {
  /** The collector, without the path: `OTEL_EXPORTER_OTLP_ENDPOINT`. Undefined: nothing is traced. */
  readonly otlpEndpoint: string | undefined;
  /** The same for traces alone, with the path: `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`. */
  readonly otlpTracesEndpoint: string | undefined;
  /** `http/protobuf` or `http/json`: `OTEL_EXPORTER_OTLP_PROTOCOL`. */
  readonly otlpProtocol: string;
  /** The same for traces alone: `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL`. */
  readonly otlpTracesProtocol: string | undefined;
  /** Which exporters there are: `OTEL_TRACES_EXPORTER`. Without `otlp` among them nothing is traced. */
  readonly otelTracesExporter: string;
  /** Whether nothing is traced in any case: `OTEL_SDK_DISABLED`. */
  readonly otelSdkDisabled: boolean;
}

export const traceVariables: { readonly [Key in keyof TraceVariables]: Variable<TraceVariables[Key]> } = {
  otlpEndpoint: {
    name: 'OTEL_EXPORTER_OTLP_ENDPOINT',
    rule: text(),
    default: undefined,
    meaning:
      'The OpenTelemetry collector that gets [traces](#traces), at `/v1/traces` below this URL. Unset: nothing is traced',
    secret: true,
  },
  otlpTracesEndpoint: {
    name: 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT',
    rule: text(),
    default: undefined,
    meaning: 'The same for traces alone, with the path',
    secret: true,
  },
  otlpProtocol: {
    name: 'OTEL_EXPORTER_OTLP_PROTOCOL',
    rule: text(),
    default: 'http/protobuf',
    meaning: 'That or `http/json`. With any other, `grpc` for one, nothing is traced, and the log says so',
  },
  otlpTracesProtocol: {
    name: 'OTEL_EXPORTER_OTLP_TRACES_PROTOCOL',
    rule: text(),
    default: undefined,
    meaning: 'The same for traces alone',
  },
  otelTracesExporter: {
    name: 'OTEL_TRACES_EXPORTER',
    rule: text(),
    default: 'otlp',
    meaning: '`none`: nothing is traced',
  },
  otelSdkDisabled: {
    name: 'OTEL_SDK_DISABLED',
    // By the standard, whatever isn't `true` means false.
    rule: z.string().transform((written) => written.toLowerCase() === 'true'),
    default: false,
    meaning: '`true`: nothing is traced',
  },
};

/** A collector, and the form in which it gets traces. */
export interface TracePlace {
  /** With the path. */
  readonly url: string;
  readonly protocol: 'http/protobuf' | 'http/json';
}

/** Where traces go; undefined where none do. */
export function tracePlace(settings: TraceVariables): TracePlace | undefined {
  const { url, protocol } = wanted(settings);
  if (url === undefined || traceDoubts(settings).length > 0) return undefined;
  return { url, protocol: protocol as TracePlace['protocol'] };
}

/** Why nothing is traced although it is wanted. */
export function traceDoubts(settings: TraceVariables): Problem[] {
  const { url, urlName, protocol, protocolName } = wanted(settings);
  if (url === undefined) return [];
  const nothing = 'nothing is traced: expected';
  const doubts: Problem[] = [];
  if (!isHttpUrl(url))
    doubts.push({ path: urlName, message: `${nothing} an http or https URL, found text, not shown here` });
  if (protocol !== 'http/protobuf' && protocol !== 'http/json') {
    doubts.push({ path: protocolName, message: `${nothing} http/protobuf or http/json, found ${quote(protocol)}` });
  }
  return doubts;
}

/** Without a URL where nothing is to be traced. */
function wanted(settings: TraceVariables) {
  const { otlpEndpoint, otlpTracesEndpoint, otlpProtocol, otlpTracesProtocol, otelTracesExporter } = settings;
  const on = !settings.otelSdkDisabled && otelTracesExporter.split(',').some((name) => name.trim() === 'otlp');
  const own = otlpTracesEndpoint !== undefined;
  const url = otlpTracesEndpoint ?? otlpEndpoint?.replace(/\/*$/, '/v1/traces');
  return {
    url: on ? url : undefined,
    urlName: traceVariables[own ? 'otlpTracesEndpoint' : 'otlpEndpoint'].name,
    protocol: otlpTracesProtocol ?? otlpProtocol,
    protocolName: traceVariables[otlpTracesProtocol === undefined ? 'otlpProtocol' : 'otlpTracesProtocol'].name,
  };
}

function isHttpUrl(written: string): boolean {
  return /^https?:\/\//i.test(written) && URL.canParse(written);
}
