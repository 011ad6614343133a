<?php

declare(strict_types=1);

namespace Jackfield\Typed;

use function array_filter, array_map, array_values, is_array, is_string, preg_match;

/**
 * Prepares params for json_encode(), for classes that `jackfield generate php` has written.
 *
 * PHP has one type for lists and maps, and no integers beyond 64 bits. The functions turn values
 * into those that are sent as their method expects. Values of another type pass: the method refuses
 * them and names the member.
 *
 * @internal
 */
final class Encode
{
    /**
     * Returns the members that are not null.
     *
     * @param array<array-key, mixed> $members
     *
     * @return array<array-key, mixed>
     */
    public static function present(array $members): array
    {
        return array_filter($members, static fn (mixed $value): bool => $value !== null);
    }

    /**
     * Returns digits as an integer.
     */
    public static function integer(mixed $value): mixed
    {
        if (!is_string($value) || preg_match('/^(0|-?[1-9]\d*)$/D', $value) !== 1) {
            return $value;
        }

        $integer = (int) $value;

        return (string) $integer === $value ? $integer : new BigInteger($value);
    }

    /**
     * Returns an array as a list, whatever its keys are, such as those that array_filter() leaves.
     *
     * @param (\Closure(mixed): mixed)|null $convert converts each item
     */
    public static function list(mixed $value, ?\Closure $convert = null): mixed
    {
        if (!is_array($value)) {
            return $value;
        }

        if ($value === []) {
            return new EmptyList();
        }

        $items = array_values($value);

        return $convert === null ? $items : array_map($convert, $items);
    }

    /**
     * Returns an array as an object, also if it is empty or a list.
     *
     * @param (\Closure(mixed): mixed)|null $convert converts each value
     */
    public static function map(mixed $value, ?\Closure $convert = null): mixed
    {
        if (!is_array($value)) {
            return $value;
        }

        $values = $convert === null ? $value : array_map($convert, $value);

        return (object) $values;
    }

    /**
     * Returns an array as an object, as map() does, and converts some of its members.
     *
     * @param array<array-key, \Closure(mixed): mixed> $converters by member
     */
    public static function object(mixed $value, array $converters = []): mixed
    {
        if (!is_array($value)) {
            return $value;
        }

        foreach ($converters as $member => $convert) {
            if (isset($value[$member])) {
                $value[$member] = $convert($value[$member]);
            }
        }

        return (object) $value;
    }
}
