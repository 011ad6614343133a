<?php

declare(strict_types=1);

namespace Jackfield\Wire;

/**
 * The error codes of the protocol (section 3).
 */
final class Code
{
    public const PARSE_ERROR = -32700;
    public const INVALID_REQUEST = -32600;
    public const METHOD_NOT_FOUND = -32601;
    public const INVALID_PARAMS = -32602;
    public const INTERNAL_ERROR = -32603;
    public const DEADLINE_EXCEEDED = -32001;
    public const OVERLOADED = -32002;
    public const PLUGIN_PANICKED = -32003;
    public const PLUGIN_CRASHED = -32004;
    public const PLUGIN_UNAVAILABLE = -32005;
    public const PERMISSION_DENIED = -32006;
    public const FRAME_TOO_LARGE = -32007;
    public const UNSUPPORTED_VERSION = -32008;
    public const GOING_AWAY = -32009;
    public const UNSUPPORTED_EXTENSION = -32010;
    public const CANCELLED = -32800;

    /** @var array<int, string>|null */
    private static ?array $names = null;

    /**
     * Returns the name of a code, such as `DEADLINE_EXCEEDED`; null for codes of plugins.
     */
    public static function name(int $code): ?string
    {
        self::$names ??= array_flip((new \ReflectionClass(self::class))->getConstants());

        return self::$names[$code] ?? null;
    }

    /**
     * Returns whether the host sends this code only for requests that it never started.
     */
    public static function neverStarted(int $code): bool
    {
        return $code === self::OVERLOADED || $code === self::PLUGIN_UNAVAILABLE || $code === self::GOING_AWAY;
    }
}
