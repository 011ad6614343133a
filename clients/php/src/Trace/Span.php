<?php

declare(strict_types=1);

namespace Jackfield\Trace;

use Jackfield\Exception\InvalidRequestException;

use function bin2hex, count, hrtime, is_string, microtime, ord, preg_match, random_bytes, strlen, substr;

/**
 * A span: one operation of a trace, such as a database query of a page.
 *
 *     $span = Span::begin('checkout');
 *     $client->call('cart.price', $cart, traceparent: $span->traceparent());
 *     $buffer->add($span->end());
 */
final class Span
{
    public const INTERNAL = 1;
    public const SERVER = 2;
    public const CLIENT = 3;
    public const PRODUCER = 4;
    public const CONSUMER = 5;

    private const NO_PARENT = '0000000000000000';

    /** A traceparent of version 00, or the part of a later version that is the same. */
    private const TRACEPARENT
        = '/^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-|$)/D';

    /**
     * Limits of the method `system.spans`, in bytes. Longer texts are cut, because the host refuses
     * all spans of a call for one that is too long.
     */
    private const MAX_NAME = 256;
    private const MAX_ATTRIBUTE_NAME = 128;
    private const MAX_TEXT = 1024;
    private const MAX_ATTRIBUTES = 32;

    /** When the span ended, in nanoseconds since 1970; null while it is open. */
    private ?int $endedAt = null;

    private ?string $error = null;

    /** @var array<string, string|int|float|bool> */
    private array $attributes = [];

    private function __construct(
        public readonly string $traceId,
        public readonly string $spanId,
        private readonly string $parentSpanId,
        public readonly string $name,
        public readonly int $kind,
        private readonly string $flags,
        private readonly int $startedAt,
        private readonly int $clock,
    ) {
    }

    /**
     * Begins a span now.
     *
     * @param string|null $parent traceparent of its parent, for example that of the HTTP request;
     *                            null, or what is none, begins a new trace, which is sampled
     *
     * @throws InvalidRequestException if the name is empty or the kind is unknown
     */
    public static function begin(string $name, ?string $parent = null, int $kind = self::INTERNAL): self
    {
        if ($name === '') {
            throw new InvalidRequestException('the name of a span is empty');
        }
        if ($parent !== null && preg_match(self::TRACEPARENT, $parent) !== 1) {
            // It may be a header of a browser, which must not break the page.
            $parent = null;
        }
        if ($kind < self::INTERNAL || $kind > self::CONSUMER) {
            throw new InvalidRequestException("$kind is not the kind of a span");
        }

        $random = random_bytes(24);
        $random = bin2hex($random);
        $parent ??= '00-' . substr($random, 16) . '-' . self::NO_PARENT . '-01';
        $traceId = substr($parent, 3, 32);
        $spanId = substr($random, 0, 16);
        $parentId = substr($parent, 36, 16);
        $flags = substr($parent, 53, 2);
        $micros = (int) (microtime(true) * 1e6);
        $clock = hrtime(true);

        $name = self::cut($name, self::MAX_NAME);

        return new self($traceId, $spanId, $parentId, $name, $kind, $flags, $micros * 1_000, $clock);
    }

    /**
     * Returns the traceparent for what this span causes, such as calls.
     */
    public function traceparent(): string
    {
        return "00-{$this->traceId}-{$this->spanId}-{$this->flags}";
    }

    /**
     * Returns whether the trace is recorded. A SpanBuffer ignores spans of others.
     */
    public function isSampled(): bool
    {
        return (hexdec($this->flags) & 1) === 1;
    }

    /**
     * Sets an attribute. Texts are cut after 1,024 bytes, names after 128. After 32 attributes,
     * further ones are ignored, and so is one without a name.
     */
    public function attribute(string $name, string|int|float|bool $value): self
    {
        $name = self::cut($name, self::MAX_ATTRIBUTE_NAME);
        $isFull = count($this->attributes) === self::MAX_ATTRIBUTES && !isset($this->attributes[$name]);
        if ($name !== '' && !$isFull) {
            $this->attributes[$name] = is_string($value) ? self::cut($value, self::MAX_TEXT) : $value;
        }

        return $this;
    }

    /**
     * Ends the span. Only the first call has an effect.
     *
     * @param string|null $error why the operation failed; null if it succeeded
     */
    public function end(?string $error = null): self
    {
        if ($this->endedAt === null) {
            $this->endedAt = $this->startedAt + hrtime(true) - $this->clock;
            $this->error = $error === '' ? 'failed' : ($error === null ? null : self::cut($error, self::MAX_TEXT));
        }

        return $this;
    }

    /**
     * Returns at most $max bytes of a text, and no part of a character.
     */
    private static function cut(string $text, int $max): string
    {
        if (strlen($text) <= $max) {
            return $text;
        }
        while ($max > 0 && (ord($text[$max]) & 0xC0) === 0x80) {
            $max--;
        }

        return substr($text, 0, $max);
    }

    /**
     * Returns the span as the method `system.spans` takes it.
     *
     * @internal
     *
     * @return array<string, mixed>
     */
    public function toArray(): array
    {
        $span = [
            'traceId' => $this->traceId,
            'spanId' => $this->spanId,
            'name' => $this->name,
            'kind' => $this->kind,
            'startTimeUnixNano' => (string) $this->startedAt,
            'endTimeUnixNano' => (string) ($this->endedAt ?? $this->startedAt),
        ];
        if ($this->parentSpanId !== self::NO_PARENT) {
            $span['parentSpanId'] = $this->parentSpanId;
        }
        if ($this->attributes !== []) {
            $span['attributes'] = (object) $this->attributes;
        }
        if ($this->error !== null) {
            $span['error'] = $this->error;
        }

        return $span;
    }
}
