<?php

declare(strict_types=1);

namespace Jackfield\Trace;

use Jackfield\Client;
use Jackfield\Exception\InvalidRequestException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Future;

use function count, hrtime, json_encode, strlen;

/**
 * Collects the finished spans of a page or a job, and hands them over to the host with one call.
 *
 * The host exports them together with its own (`[trace] spans = true`). Spans that cannot be
 * delivered are counted. No failure reaches the page.
 */
final class SpanBuffer
{
    /** Limits of one call of `system.spans`. */
    private const MAX_SPANS = 512;
    private const MAX_BYTES = 262_144;
    private const MAX_SERVICE = 128;

    /** Bytes of the params around the service and the spans, rounded up. */
    private const OVERHEAD = 64;

    /** Time-out of the call, in seconds. */
    private const TIMEOUT = 1.0;

    /** @var list<array<string, mixed>> */
    private array $spans = [];

    /** Length of the params as JSON, in bytes, and of those without spans. */
    private int $bytes;
    private readonly int $emptyBytes;

    /** @var array<string, array{Future, int}> open calls, each with its number of spans */
    private array $calls = [];

    private int $delivered = 0;
    private int $dropped = 0;

    /**
     * @param string $service name of the service, as the trace shows it
     *
     * @throws InvalidRequestException if it is empty, longer than 128 bytes, or not valid UTF-8
     */
    public function __construct(private readonly Client $client, private readonly string $service)
    {
        $text = json_encode($service);
        if ($text === false || $service === '' || strlen($service) > self::MAX_SERVICE) {
            throw new InvalidRequestException('the name of the service is not 1 to 128 bytes of UTF-8');
        }
        $this->emptyBytes = self::OVERHEAD + strlen($text);
        $this->bytes = $this->emptyBytes;
    }

    /**
     * Adds a finished span.
     *
     * It is dropped if the buffer is full, and ignored if its trace is not sampled.
     */
    public function add(Span $span): void
    {
        if (!$span->isSampled()) {
            return;
        }

        $array = $span->toArray();
        $text = json_encode($array);
        $length = $text === false ? self::MAX_BYTES : strlen($text) + 1;
        if (count($this->spans) === self::MAX_SPANS || $this->bytes + $length > self::MAX_BYTES) {
            $this->dropped++;

            return;
        }

        $this->spans[] = $array;
        $this->bytes += $length;
    }

    /**
     * Sends the collected spans without waiting for the reply.
     *
     * The reply is read by later calls of the client, or by finish().
     */
    public function flush(): void
    {
        $count = count($this->spans);
        if ($count === 0) {
            return;
        }

        $params = ['service' => $this->service, 'spans' => $this->spans];
        $this->spans = [];
        $this->bytes = $this->emptyBytes;
        try {
            // Without a traceparent: this call is no part of the trace.
            $future = $this->client->callAsync('system.spans', $params, self::TIMEOUT, traceparent: '');
        } catch (JackfieldException) {
            $this->dropped += $count;

            return;
        }

        $id = $future->id();
        $this->calls[$id] = [$future, $count];
        $future->then(
            function () use ($id, $count): void {
                $this->delivered += isset($this->calls[$id]) ? $count : 0;
                unset($this->calls[$id]);
            },
            function () use ($id, $count): void {
                $this->dropped += isset($this->calls[$id]) ? $count : 0;
                unset($this->calls[$id]);
            }
        );
    }

    /**
     * Sends the collected spans and waits until the host has them.
     *
     * Call it when the page is delivered, for example after fastcgi_finish_request().
     *
     * @param float $timeout how long to wait, in seconds; spans without a reply count as dropped
     */
    public function finish(float $timeout = 0.05): void
    {
        $this->flush();
        $until = hrtime(true) + (int) ($timeout * 1e9);
        while ($this->calls !== [] && ($now = hrtime(true)) < $until) {
            $remaining = ($until - $now) / 1e9;
            $this->client->tick($remaining);
        }

        foreach ($this->calls as [$future]) {
            $future->cancel();
        }
    }

    /**
     * Returns the number of spans that the host has accepted.
     */
    public function delivered(): int
    {
        return $this->delivered;
    }

    /**
     * Returns the number of spans that were dropped: the buffer was full, or the call failed.
     */
    public function dropped(): int
    {
        return $this->dropped;
    }
}
