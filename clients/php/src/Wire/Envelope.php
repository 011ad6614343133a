<?php

/**
 * The JSON documents inside the frames: requests out, replies in (protocol, section 2).
 */

declare(strict_types=1);

namespace Jackfield\Wire;

use Jackfield\Exception\InvalidRequestException;
use Jackfield\Exception\ProtocolException;
use Jackfield\Exception\RemoteException;

use function array_key_exists, count, get_object_vars, is_array, is_float, is_infinite, is_int, is_object;
use function is_string, json_decode, json_encode, json_last_error, json_last_error_msg, preg_match;
use function str_starts_with, strlen, substr;

final class Envelope
{
    /** The longest method name, in bytes (protocol, section 2). */
    public const METHOD_MAX = 256;
    /** Where the id's text is in a reply that begins with it. */
    public const ID_AT = 7;
    /** The deepest nesting of a whole payload (protocol, section 2). */
    public const DEPTH_MAX = 128;

    private const ENCODE = JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE
        | JSON_UNESCAPED_LINE_TERMINATORS | JSON_PRESERVE_ZERO_FRACTION;
    /** json_decode() calls a scalar inside two arrays depth 3, and the host may nest deeper than it accepts. */
    private const DECODE_DEPTH = 512;
    /** Encoded method names kept, so that a program's few methods are encoded once. */
    private const METHODS_KEPT = 256;

    /** @var array<string, string> */
    private static array $methods = [];

    /**
     * A request's payload. Params that are null are left out; an empty array becomes an empty object, since
     * named members are what methods take.
     *
     * @throws InvalidRequestException for a method name or params that cannot be sent
     */
    public static function request(string $id, string $method, mixed $params, ?int $timestamp = null): string
    {
        $name = self::$methods[$method] ?? self::method($method);
        if ($params === null) {
            $payload = "{\"id\":\"$id\",\"method\":$name";
        } else {
            try {
                // One level is the envelope's own.
                $params = $params === [] ? '{}' : json_encode($params, self::ENCODE, self::DEPTH_MAX - 1);
                $payload = "{\"id\":\"$id\",\"method\":$name,\"params\":$params";
            } catch (\JsonException $cause) {
                throw new InvalidRequestException(
                    "the params of $method cannot be written as JSON: {$cause->getMessage()}",
                    0,
                    $cause
                );
            }
        }

        return $timestamp === null ? $payload . '}' : $payload . ',"timestamp":' . $timestamp . '}';
    }

    /**
     * A reply's members, `error` being there only if it is the outcome. Integers beyond 64 bits come as strings of their
     * digits, so that none is rounded.
     *
     * @param string|null $id an id of this client's that the reply may well have
     * @return array{id?: mixed, result?: mixed, error?: mixed}
     * @throws ProtocolException when the payload is no reply
     */
    public static function reply(string $payload, bool $associative, ?string $id = null): array
    {
        $flags = JSON_BIGINT_AS_STRING | ($associative ? JSON_OBJECT_AS_ARRAY : 0);
        $head = "{\"id\":\"$id\",\"result\":";
        if ($id !== null && str_starts_with($payload, $head) && $payload[-1] === '}') {
            // What lies between is the result if it is one JSON value; with any further member it is none.
            $text = substr($payload, strlen($head), -1);
            $result = json_decode($text, null, self::DECODE_DEPTH - 1, $flags);
            // Null may be a failure: what follows tells.
            if ($result !== null) {
                return self::finite($text, ['id' => $id, 'result' => $result]);
            }
        }
        $reply = json_decode($payload, null, self::DECODE_DEPTH, $flags);
        if (is_object($reply)) {
            $reply = get_object_vars($reply);
        }
        if (!is_array($reply)) {
            throw new ProtocolException(
                json_last_error() === JSON_ERROR_NONE
                    ? 'the peer sent a reply that is no object'
                    : 'the peer sent a reply that is not JSON: ' . json_last_error_msg()
            );
        }
        if (!isset($reply['error'])) {
            // A null beside the other member counts as absent, as older servers write both.
            unset($reply['error']);
            if (!array_key_exists('result', $reply)) {
                throw new ProtocolException('the peer sent a reply with neither a result nor an error');
            }
        } elseif (isset($reply['result'])) {
            throw new ProtocolException('the peer sent a reply with both a result and an error');
        }

        return self::finite($payload, $reply);
    }

    /**
     * @param string $text what the reply, or all of it that can hold a number, was decoded from
     * @param array{id?: mixed, result?: mixed, error?: mixed} $reply
     * @return array{id?: mixed, result?: mixed, error?: mixed} the reply, or its failure if it holds what is no number
     */
    private static function finite(string $text, array $reply): array
    {
        if (preg_match('/\d[eE]\+?\d{3}|\d{309}/', $text) === 1 && self::holdsInfinity($reply)) {
            // The frame is in step and the id is known: this ends one call, not the connection.
            return ['id' => $reply['id'] ?? null, 'error' => new ProtocolException(
                'the reply holds a number beyond what a float can hold'
            )];
        }

        return $reply;
    }

    /**
     * Whether a reply says that the host goes away: the next request belongs on a new connection.
     *
     * @param array{error?: mixed} $reply
     */
    public static function saysGoingAway(array $reply): bool
    {
        $error = $reply['error'] ?? null;

        return $error !== null && self::error($error)->getCode() === Code::GOING_AWAY;
    }

    /** The exception for a reply's `error` member. */
    public static function error(mixed $error): RemoteException|ProtocolException
    {
        if ($error instanceof ProtocolException) {
            return $error;
        }
        $error = is_object($error) ? get_object_vars($error) : $error;
        if (!is_array($error) || !is_int($error['code'] ?? null) || !is_string($error['message'] ?? null)) {
            return new ProtocolException('the peer sent an error without a code and a message');
        }

        return RemoteException::from($error['code'], $error['message'], $error['data'] ?? null);
    }

    private static function method(string $method): string
    {
        if ($method === '' || strlen($method) > self::METHOD_MAX) {
            throw new InvalidRequestException(
                'a method name has 1 to ' . self::METHOD_MAX . ' bytes, this one has ' . strlen($method)
            );
        }
        try {
            $name = json_encode($method, self::ENCODE);
        } catch (\JsonException $cause) {
            throw new InvalidRequestException('the method name is not valid UTF-8', 0, $cause);
        }
        if (count(self::$methods) >= self::METHODS_KEPT) {
            self::$methods = [];
        }

        return self::$methods[$method] = $name;
    }

    /** json_decode() turns 1e400 into infinity without a word. */
    private static function holdsInfinity(mixed $value): bool
    {
        if (is_float($value)) {
            return is_infinite($value);
        }
        if (is_array($value) || is_object($value)) {
            foreach ((array) $value as $member) {
                if (self::holdsInfinity($member)) {
                    return true;
                }
            }
        }

        return false;
    }
}
