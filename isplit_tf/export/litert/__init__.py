"""The head as a LiteRT model: conversion, verification, and what is in the file."""
