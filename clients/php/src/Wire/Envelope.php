<?php

declare(strict_types=1);

namespace Jackfield\Wire;

use Jackfield\Bytes;
use Jackfield\Exception\InvalidRequestException;
use Jackfield\Exception\ProtocolException;
use Jackfield\Exception\RemoteException;
use Jackfield\Exception\UnreadableReplyException;

use function array_key_exists, count, get_object_vars, is_array, is_float, is_infinite, is_int, is_object;
use function is_string, json_decode, json_encode, json_last_error, json_last_error_msg, preg_match, preg_replace;
use function str_starts_with, strlen, substr, unpack;

/**
 * Encodes requests and decodes replies: the JSON documents inside the frames (protocol, section 2).
 *
 * @internal
 */
final class Envelope
{
    /** Maximum length of a method name, in bytes (protocol, section 2). */
    public const MAX_METHOD_BYTES = 256;

    /** Offset of the id's text in a reply that starts with `{"id":"`. */
    public const ID_OFFSET = 7;

    /** Maximum nesting of a complete payload, in levels (protocol, section 2). */
    public const MAX_DEPTH = 128;

    private const ENCODE_FLAGS = JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE
        | JSON_UNESCAPED_LINE_TERMINATORS;

    /**
     * Maximum nesting of a reply, in levels as json_decode() counts them.
     *
     * json_decode() counts a scalar inside two arrays as depth 3. The limit is above MAX_DEPTH
     * because the host may nest deeper than it accepts.
     */
    private const DECODE_DEPTH = 512;

    /** Errors of json_decode() for valid JSON that PHP cannot hold, and what they mean. */
    private const UNREADABLE = [
        JSON_ERROR_DEPTH => 'the reply is nested deeper than ' . self::DECODE_DEPTH
            . ' levels, and this client reads no more',
        JSON_ERROR_INVALID_PROPERTY_NAME => 'the reply contains a member name that begins with a NUL byte,'
            . ' which a PHP object cannot have (use the option associative)',
        JSON_ERROR_UTF16 => 'the reply contains one half of a surrogate pair, which a PHP string cannot hold',
    ];

    /** Number of encoded method names that are cached; a program calls few different methods. */
    private const METHOD_CACHE_SIZE = 256;

    /** Begin of strings that are sent as integers (see Typed\BigInteger); null: there are none. */
    public static ?string $integerMark = null;

    /** @var array<string, string> method names as JSON strings, by method name */
    private static array $encodedMethods = [];

    /**
     * Returns the envelope of a request without its closing brace: RequestFrame adds the deadline.
     *
     * Params that are null are left out. An empty array is encoded as an empty object, because
     * methods take named members.
     *
     * @param int $flags JSON_PRESERVE_ZERO_FRACTION or 0
     *
     * @throws InvalidRequestException if the method name or the params cannot be sent
     */
    public static function request(
        string $id,
        string $method,
        mixed $params,
        ?int $timestamp = null,
        int $flags = 0,
    ): string {
        $name = self::$encodedMethods[$method] ?? self::encodeMethod($method);

        if ($params === null) {
            $payload = "{\"id\":\"$id\",\"method\":$name";
        } else {
            try {
                // The envelope itself is one level.
                $params = $params === [] ? '{}' : json_encode($params, self::ENCODE_FLAGS | $flags, self::MAX_DEPTH - 1);
                if (self::$integerMark !== null) {
                    $params = preg_replace('/"' . self::$integerMark . '(-?\d+)"/', '$1', $params);
                    self::$integerMark = null;
                }
                $payload = "{\"id\":\"$id\",\"method\":$name,\"params\":$params";
            } catch (\JsonException $cause) {
                $reason = $cause->getMessage();
                throw new InvalidRequestException("$method: cannot encode the params as JSON: $reason", 0, $cause);
            }
        }

        return $timestamp === null ? $payload : $payload . ',"timestamp":' . $timestamp;
    }

    /**
     * Decodes the payload of a reply.
     *
     * The member `error` is present only if it is the outcome. Integers beyond 64 bits become
     * strings of their digits, so that no integer is rounded.
     *
     * If only the call of this reply has to fail, because the id is known, the member `error` is
     * the exception.
     *
     * @param string|null $id id of the request that this reply most likely answers; enables a
     *                        decoder that skips the envelope
     *
     * @return array{id?: mixed, result?: mixed, error?: mixed}
     *
     * @throws ProtocolException if the payload is not a reply, and its id is unknown
     */
    public static function reply(string $payload, bool $associative, ?string $id = null): array
    {
        $flags = JSON_BIGINT_AS_STRING | ($associative ? JSON_OBJECT_AS_ARRAY : 0);

        $prefix = "{\"id\":\"$id\",\"result\":";
        if ($id !== null && str_starts_with($payload, $prefix) && $payload[-1] === '}') {
            // The text between prefix and brace is the result if it is one JSON value. A further
            // member makes it invalid JSON.
            $text = substr($payload, strlen($prefix), -1);
            $result = json_decode($text, null, self::DECODE_DEPTH - 1, $flags);

            // Null is either the result or a decoding error; the code below distinguishes them.
            if ($result !== null) {
                return self::rejectInfinity($text, ['id' => $id, 'result' => $result]);
            }
        }

        $reply = json_decode($payload, null, self::DECODE_DEPTH, $flags);
        if (is_object($reply)) {
            $reply = get_object_vars($reply);
        }
        if (!is_array($reply)) {
            return self::undecodable($payload);
        }

        if (!isset($reply['error'])) {
            // Older servers write both members. A null next to the other member counts as absent.
            unset($reply['error']);
            if (!array_key_exists('result', $reply)) {
                return self::failed($reply, new ProtocolException(
                    'the peer sent a reply with neither a result nor an error'
                ));
            }
        } elseif (isset($reply['result'])) {
            return self::failed($reply, new ProtocolException('the peer sent a reply with both a result and an error'));
        }

        return self::rejectInfinity($payload, $reply);
    }

    /**
     * Returns the reply for a payload that is larger than Options::$maxFrameBytes.
     *
     * @param string $head the first bytes of the payload
     *
     * @return array{id?: string, error: UnreadableReplyException}
     */
    public static function tooLarge(string $head, int $length, int $limit): array
    {
        $error = new UnreadableReplyException(
            "the reply has $length bytes, but the limit is $limit bytes (raise the option maxFrameBytes)"
        );
        $id = IdFinder::find($head);

        return $id === null ? ['error' => $error] : ['id' => $id, 'error' => $error];
    }

    /**
     * Decodes the payload of a reply whose result is bytes.
     *
     * @return array{id?: mixed, result?: Bytes, error?: ProtocolException}
     *
     * @throws ProtocolException if it has no envelope, or another outcome and no id
     */
    public static function bytesReply(string $payload): array
    {
        $length = strlen($payload) < 4 ? PHP_INT_MAX : unpack('N', $payload)[1];
        $envelope = substr($payload, 4, $length);
        $reply = strlen($envelope) < $length ? null : json_decode($envelope, true);
        if (!is_array($reply)) {
            throw new ProtocolException('the peer sent a reply with bytes and without an envelope');
        }
        if (isset($reply['result']) || isset($reply['error'])) {
            return self::failed($reply, new ProtocolException('the peer sent a reply with bytes and another outcome'));
        }
        $bytes = substr($payload, 4 + $length);
        $reply['result'] = new Bytes($bytes);

        return $reply;
    }

    /**
     * Returns whether a reply reports that the host is going away.
     *
     * The next request then needs a new connection.
     *
     * @param array{error?: mixed} $reply
     */
    public static function isGoingAway(array $reply): bool
    {
        $error = $reply['error'] ?? null;

        return $error !== null && self::error($error)->getCode() === Code::GOING_AWAY;
    }

    /**
     * Returns the exception for the `error` member of a reply.
     *
     * @param string $subject begin of the message if the peer did not send one: the method
     */
    public static function error(mixed $error, string $subject = ''): RemoteException|ProtocolException
    {
        $prefix = $subject === '' ? '' : "$subject: ";
        if ($error instanceof ProtocolException) {
            $message = $error->getMessage();

            return $error instanceof UnreadableReplyException
                ? new UnreadableReplyException($prefix . $message)
                : new ProtocolException($prefix . $message);
        }

        $error = is_object($error) ? get_object_vars($error) : $error;
        if (!is_array($error) || !is_int($error['code'] ?? null) || !is_string($error['message'] ?? null)) {
            return new ProtocolException($prefix . 'the peer sent an error without a code and a message');
        }

        $data = $error['data'] ?? null;

        return RemoteException::from($error['code'], $error['message'], $data);
    }

    /**
     * Returns the reply for a payload that json_decode() does not read.
     *
     * @return array{id: string, error: ProtocolException}
     *
     * @throws ProtocolException if its id cannot be found
     */
    private static function undecodable(string $payload): array
    {
        $code = json_last_error();
        $text = json_last_error_msg();
        $error = match (true) {
            $code === JSON_ERROR_NONE => new ProtocolException('the peer sent a reply that is not a JSON object'),
            isset(self::UNREADABLE[$code]) => new UnreadableReplyException(self::UNREADABLE[$code]),
            default => new ProtocolException("the peer sent a reply that is not valid JSON: $text"),
        };

        $id = IdFinder::find($payload);

        return self::failed(['id' => $id], $error);
    }

    /**
     * Returns a reply with which only its own call fails.
     *
     * @param array{id?: mixed} $reply
     *
     * @return array{id: string, error: ProtocolException}
     *
     * @throws ProtocolException if the id is unknown
     */
    private static function failed(array $reply, ProtocolException $error): array
    {
        $id = $reply['id'] ?? null;
        if (!is_string($id)) {
            throw $error;
        }

        return ['id' => $id, 'error' => $error];
    }

    private static function encodeMethod(string $method): string
    {
        if ($method === '' || strlen($method) > self::MAX_METHOD_BYTES) {
            throw new InvalidRequestException(
                'a method name must have 1 to ' . self::MAX_METHOD_BYTES . ' bytes, not ' . strlen($method)
            );
        }

        try {
            $name = json_encode($method, self::ENCODE_FLAGS);
        } catch (\JsonException $cause) {
            throw new InvalidRequestException('the method name is not valid UTF-8', 0, $cause);
        }

        if (count(self::$encodedMethods) >= self::METHOD_CACHE_SIZE) {
            self::$encodedMethods = [];
        }

        return self::$encodedMethods[$method] = $name;
    }

    /**
     * Returns the reply, with an error instead of a result that contains an infinite number.
     *
     * json_decode() turns 1e400 into infinity without an error. Only this call fails, not the
     * connection: the frame was complete and its id is known.
     *
     * @param string $text the text that the numbers of the reply were decoded from
     * @param array{id?: mixed, result?: mixed, error?: mixed} $reply
     *
     * @return array{id?: mixed, result?: mixed, error?: mixed}
     */
    private static function rejectInfinity(string $text, array $reply): array
    {
        if (preg_match('/\d[eE]\+?\d{3}|\d{309}/', $text) === 1 && self::containsInfinity($reply)) {
            return ['id' => $reply['id'] ?? null, 'error' => new UnreadableReplyException(
                'the reply contains a number that is too large for a float'
            )];
        }

        return $reply;
    }

    private static function containsInfinity(mixed $value): bool
    {
        if (is_float($value)) {
            return is_infinite($value);
        }

        if (is_array($value) || is_object($value)) {
            foreach ((array) $value as $member) {
                if (self::containsInfinity($member)) {
                    return true;
                }
            }
        }

        return false;
    }
}
