<?php

declare(strict_types=1);

namespace Jackfield\Call;

use Jackfield\Exception\InvalidRequestException;
use Jackfield\Options;

use function count, get_debug_type, is_array, is_string, json_encode, preg_match, strlen;

/**
 * The members of an envelope that accompany a request: the trace context and the metadata.
 *
 * @internal
 */
final class RequestMembers
{
    private const MAX_STATE_BYTES = 512;
    private const MAX_META = 16;
    private const MAX_META_BYTES = 2_048;
    private const ENCODE_FLAGS = JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE;

    /** Version 00 of W3C Trace Context: neither of the two ids is zero. */
    private const TRACEPARENT = '/^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/D';

    /** Whether a call that passes nothing has members nevertheless. */
    public readonly bool $hasDefaults;

    private readonly string $defaultTrace;
    private readonly string $defaultMeta;

    /** @throws InvalidRequestException if a default is invalid */
    public function __construct(private readonly Options $options)
    {
        $trace = $options->traceparent instanceof \Closure ? null : $options->traceparent;
        $this->defaultTrace = $options->traceparent instanceof \Closure && $options->tracestate === null
            ? ''
            : self::trace($trace, $options->tracestate);
        $this->defaultMeta = self::meta($options->meta);
        $this->hasDefaults = $options->traceparent !== null || $options->meta !== [];
    }

    /**
     * Returns the members of one call, each with a comma before it.
     *
     * @param string|null                $traceparent null: the default; '': none
     * @param array<string, string>|null $meta        null: the default; []: none
     *
     * @throws InvalidRequestException if a value is invalid
     */
    public function encode(?string $traceparent, ?string $tracestate, ?array $meta): string
    {
        $trace = $traceparent === null && $tracestate === null
            ? $this->currentTrace()
            : self::trace($traceparent, $tracestate);

        return $trace . ($meta === null ? $this->defaultMeta : self::meta($meta));
    }

    private function currentTrace(): string
    {
        if (!$this->options->traceparent instanceof \Closure) {
            return $this->defaultTrace;
        }

        $current = ($this->options->traceparent)();
        $carrier = is_array($current) ? $current : ['traceparent' => $current];
        $traceparent = $carrier['traceparent'] ?? null;
        $tracestate = $carrier['tracestate'] ?? null;
        foreach ([$traceparent, $tracestate] as $value) {
            if ($value !== null && !is_string($value)) {
                $type = get_debug_type($value);
                throw new InvalidRequestException("the option traceparent returned a $type; it has to return a string");
            }
        }

        return $traceparent === null ? '' : self::trace($traceparent, $tracestate);
    }

    private static function trace(?string $traceparent, ?string $tracestate): string
    {
        if ($traceparent === null || $traceparent === '') {
            if ($tracestate !== null && $tracestate !== '') {
                throw new InvalidRequestException('a tracestate needs a traceparent');
            }

            return '';
        }

        if (preg_match(self::TRACEPARENT, $traceparent) !== 1) {
            throw new InvalidRequestException(
                "\"$traceparent\" is not a traceparent of version 00 (00-<32 hex digits>-<16 hex digits>-<2 hex digits>)"
            );
        }
        if ($tracestate === null || $tracestate === '') {
            return ",\"traceparent\":\"$traceparent\"";
        }

        $state = json_encode($tracestate, self::ENCODE_FLAGS);
        if (strlen($tracestate) > self::MAX_STATE_BYTES || $state === false) {
            throw new InvalidRequestException('a tracestate must be UTF-8 of at most ' . self::MAX_STATE_BYTES . ' bytes');
        }

        return ",\"traceparent\":\"$traceparent\",\"tracestate\":$state";
    }

    /** @param array<string, string> $meta */
    private static function meta(array $meta): string
    {
        if ($meta === []) {
            return '';
        }

        $bytes = 0;
        foreach ($meta as $name => $value) {
            if ($name === '' || !is_string($value)) {
                throw new InvalidRequestException("meta: the name \"$name\" is empty, or its value is not a string");
            }
            $bytes += strlen((string) $name) + strlen($value);
        }
        if (count($meta) > self::MAX_META || $bytes > self::MAX_META_BYTES) {
            throw new InvalidRequestException(
                'meta may have at most ' . self::MAX_META . ' members with ' . self::MAX_META_BYTES . ' bytes together'
            );
        }

        $members = json_encode($meta, self::ENCODE_FLAGS | JSON_FORCE_OBJECT);
        if ($members === false) {
            throw new InvalidRequestException('meta: a name or a value is not valid UTF-8');
        }

        return ",\"meta\":$members";
    }
}
